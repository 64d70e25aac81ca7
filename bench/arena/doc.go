// Command arena lets several entrants tune the lab's Kafka, one after the other, each from the same start, under the same load and for the same time, and
// compares what they came to: the goodput at the SLO before and after, how long the SLO was broken, restarts, changes, lost records.
//
// It promises: each run has a lab of its own, brought up from nothing; entrants take turns in an order drawn from the seed, so that what the machine does
// meanwhile falls on all of them; what is measured is measured by the same queries for everyone, before the entrant begins and after it has ended; and an
// arena that was interrupted goes on where it was. It leaves out judging single changes: that is the tuner's.
package main
