// Package loadgen measures the producing half of the load generator beside its peers, on one broker and interleaved: Kafka's own
// kafka-producer-perf-test and a bare loop around sarama's AsyncProducer. Its results are in bench/LOADGEN.md.
//
// It promises that all run in processes of their own with the same acks, partitions and record size against the same real broker on
// loopback, that records are counted when they are acknowledged, and that processor time is that of the whole process from its start to its
// end. It leaves out consuming: the peers do not consume either.
package loadgen
