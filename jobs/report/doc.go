// Package report is what a person sees of a run: its progress while it goes on, and a summary at its end.
//
// A [Collector] watches the attempts as a pipeline.Observer and keeps their times in HDR histograms. A [Printer] shows a
// [View] of the run now and then, as a bar, plain lines or JSON lines. A [Summary] is the end of it, for a file
// as JSON and for a terminal as text, whose last line is its [Summary.Account].
//
// What is not known is left out: no percentile of nothing is shown as 0.
package report
