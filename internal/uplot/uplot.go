// Package uplot holds uPlot (https://github.com/leeoniya/uPlot, MIT, version 1.6.32, as npm has it): the charts of loadgen's report and of the tuner's page.
//
// It is 50 KB that draw an hour by the second at once, with values under the cursor and a zoom. Charts made here as SVG would show no values, and a Go
// library for them is megabytes. The package leaves out drawing: the pages do that.
package uplot

import _ "embed" // the library's files

// Script defines the global uPlot.
//
//go:embed uPlot.iife.min.js
var Script string

// Style is what its elements look like.
//
//go:embed uPlot.min.css
var Style string
