package jobs

import (
	"reflect"
	"time"

	"github.com/spf13/pflag"
)

// A flag is a setting as pflag wants it.
type flag struct {
	*setting
	spec *Spec
	said bool
}

// String is the value as --help shows it.
func (v *flag) String() string { return v.text(v.spec) }

// Set is called each time the flag is given.
func (v *flag) Set(text string) error {
	list, isList := v.at(v.spec).(*[]string)
	switch {
	case isList && !v.said: // what is said replaces what was there; what is said again is added
		*list = nil
	case text == "" && v.pattern != nil && !isList: // --profile "$PROFILE" with nothing in it says nothing
		*v.at(v.spec).(*string) = ""
		return nil
	}
	v.said = true
	return v.set(v.spec, text)
}

// Type names the value where the help text does not.
func (v *flag) Type() string {
	switch v.at(v.spec).(type) {
	case *bool:
		return "bool"
	case *time.Duration:
		return "duration"
	case *Bytes:
		return "size"
	case *[]string, *string:
		return "string"
	}
	return "number"
}

// Register adds a flag for every field of s to fs, in the order in which --help is to show them. What the fields
// hold at that moment are the defaults that --help names; parsing fs sets the fields.
func (s *Spec) Register(fs *pflag.FlagSet) {
	fs.SortFlags = false
	for i := range settings {
		f := &settings[i]
		help := f.help
		if f.auto != "" {
			help += " (default: " + f.auto + ")"
		}
		added := fs.VarPF(&flag{setting: f, spec: s}, f.name, f.short, help)
		if _, ok := f.at(s).(*bool); ok {
			added.NoOptDefVal = "true"
		}
	}
}

// Merge is the job file's spec with what the flags say on top of it: flags win. Changed tells whether the flag of that
// name was given, as (*pflag.FlagSet).Changed does.
func Merge(file, flags Spec, changed func(name string) bool) Spec {
	for _, f := range settings {
		if changed(f.name) {
			reflect.ValueOf(f.at(&file)).Elem().Set(reflect.ValueOf(f.at(&flags)).Elem())
		}
	}
	return file
}
