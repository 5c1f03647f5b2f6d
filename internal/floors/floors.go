// Package floors says which package stands on which floor of the program, and its test keeps imports going down only.
//
// The floors are those of ARCHITECTURE.md. A package that is not in [Table] fails the test: where it stands is a decision.
// Only what the program is built from counts; a test may drive its package with what stands above it.
package floors

// Table gives the floor of every package, by its path within the module. Children are listed by themselves: they may
// stand lower than their parent, as pipeline/bedrock/sim does.
var Table = map[string]int{
	"cmd/batchrun":       4, // flags, signals, exit codes, progress
	"internal/benchtool": 4, // what make bench-… runs: not part of the program
	"internal/lab":       4, // the limiter and the pipeline against a model of the service: not part of the program

	"jobs":         3, // a job as the user means it: spec, run, resume
	"jobs/bench":   3,
	"jobs/convert": 3, // files from one published format into another
	"jobs/eval":    3,
	"jobs/learned": 3, // what is remembered of quotas between runs
	"jobs/limits":  3, // what the limiter saw and did, as a file
	"jobs/plan":    3,
	"jobs/report":  3,
	"jobs/spend":   3, // what a run has spent, and may
	"jobs/state":   3,

	"pipeline/bedrock": 2, // the service as a pipeline.Model
	"pipeline/input":   2, // lines as a pipeline.Source
	"sinks":            2, // rows

	"pipeline":         1, // the way of a record; declares the interfaces it needs
	"pipeline/dialect": 1, // requests and answers from one published format into another

	"examples":                     0, // prompts for the demo and the job file of the documentation
	"internal/atomicfile":          0,
	"internal/floors":              0,
	"jobs/journal":                 0,
	"jobs/price":                   0,
	"jobs/schedule":                0,
	"jobs/words":                   0, // numbers, times and names as people read them
	"pipeline/bedrock/eventstream": 0, // the framing
	"pipeline/bedrock/sim":         0, // the service, rehearsed: knows the wire only, with framing of its own
	"ratelimit":                    0,
}

// Beside lists the imports within one floor that are meant. Inside floor 3 none needs to be listed: jobs is the engine that
// its children use, or the other way round, and the compiler refuses a cycle.
var Beside = map[string][]string{
	"jobs/journal":     {"internal/atomicfile"}, // private files, and a file system that tests can make fail
	"pipeline/dialect": {"pipeline"},            // its Prompt is what all formats are translated into
}

// AWS lists the packages that may import the AWS SDK.
var AWS = []string{"cmd/batchrun", "internal/benchtool", "internal/lab", "pipeline/bedrock"}
