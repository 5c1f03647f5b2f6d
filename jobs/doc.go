// Package jobs is a job as the user means it: a [Spec] from flags and a job file, [Run] that does it or goes on
// with it, and [Verify] that proves it from the files.
//
// It ties the packages below together and decides what their errors mean for the exit code. It opens things in the
// order in which a refusal costs least: the spec, the family, the names of the input, region and credentials, the
// input's content, and only then the state directory and the output.
package jobs
