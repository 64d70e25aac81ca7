// Package judge measures how often tuner/judge is right, and how soon, on simulated clusters and on recorded ones. Its results are in bench/JUDGE.md.
//
// It promises that every figure follows from the seeds in it, that the simulated clusters know nothing of the judge, and that what is compared sees the
// same clusters. It leaves out how a real Kafka behaves: record one and give its time series with JUDGE_CSV.
package judge
