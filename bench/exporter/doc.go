// Package exporter measures the exporter on a real broker with many partitions and many groups. Its results are in bench/EXPORTER.md.
//
// It promises that scrapes are those of the program itself, by HTTP and read to their end; that each has the number of series that the
// cluster's size asks for, or the measurement fails; and that broker and exporter share the machine with nothing else of this package. It
// leaves out other exporters.
package exporter
