// SPDX-License-Identifier: Apache-2.0

package yamlfile_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern.dev/postern/internal/yamlfile"
)

type part struct {
	Name  string   `json:"name"`
	Ports []int    `json:"ports,omitempty"`
	On    *bool    `json:"on,omitempty"`
	Hosts []string `json:"hosts,omitempty"`
}

type whole struct {
	Title string `json:"title"`
	Parts []part `json:"parts"`
	More  struct {
		Count int `json:"count"`
	} `json:"more"`
	hidden string
}

const good = `# a comment
title: &t something
parts:
  - name: *t
    ports: [1,
      2]
  - name: "2001:db8::1"
    on: false
more:
  count: 3
`

func TestValuesAndTheirLines(t *testing.T) {
	got := whole{Title: "default", hidden: "kept"}
	lines, err := yamlfile.Decode("f.yaml", []byte(good), &got)
	if err != nil {
		t.Fatal(err)
	}
	off := false
	want := whole{Title: "something", Parts: []part{{Name: "something", Ports: []int{1, 2}}, {Name: "2001:db8::1", On: &off}}, hidden: "kept"}
	want.More.Count = 3
	if d := cmp.Diff(want, got, cmp.AllowUnexported(whole{})); d != "" {
		t.Error(d)
	}
	for path, want := range map[string]int{
		"title": 2, "parts[0].name": 4, "parts[0].ports[1]": 6, "parts[1].on": 8, "parts[1].hosts[3]": 7, "more.count": 10, "other": 2,
	} {
		if got := lines.Of(path); got != want {
			t.Errorf("%s is in line %d, want %d", path, got, want)
		}
	}
}

func TestAllProblemsAreToldWithTheirLines(t *testing.T) {
	const bad = `title: [a]
titel: b
parts:
  - name: a
    name: b
    ports: [x, 1.5]
  - on: perhaps
    hosts: one
  - 7
more: []
`
	var v whole
	_, err := yamlfile.Decode("f.yaml", []byte(bad), &v)
	want := `f.yaml:1: title: want a text
f.yaml:2: unknown field "titel": there are title, parts, more
f.yaml:5: name is there twice, first in line 4
f.yaml:6: ports[0]: want a whole number
f.yaml:6: ports[1]: want a whole number
f.yaml:7: on: want true or false
f.yaml:8: hosts: want a list
f.yaml:9: parts[2]: want names with values
f.yaml:10: more: want names with values`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// The words of YAML 1.1 for true and false are what they look like where a choice is
// wanted, and texts where a text is; what is neither is refused.
func TestTheWordsOfYAML11ForTrueAndFalse(t *testing.T) {
	for word, want := range map[string]string{
		"true": "true", "True": "true", "TRUE": "true", "yes": "true", "Yes": "true", "YES": "true", "on": "true", "On": "true", "ON": "true", "y": "true", "Y": "true",
		"false": "false", "no": "false", "No": "false", "NO": "false", "off": "false", "Off": "false", "OFF": "false", "n": "false", "N": "false",
		`"yes"`: "true", "'off'": "false",
		"perhaps": "refused", "yea": "refused", "tRuE": "refused", "1": "refused", "0": "refused", `""`: "refused", "[yes]": "refused", "!!str x": "refused",
		"~": "absent", "": "absent",
	} {
		var v whole
		_, err := yamlfile.Decode("f.yaml", []byte("parts:\n  - name: no\n    on: "+word+"\n"), &v)
		got := "absent"
		switch {
		case err != nil:
			if got = "refused"; err.Error() != "f.yaml:3: on: want true or false" {
				t.Errorf("%s: %v", word, err)
			}
		case v.Parts[0].On != nil:
			got = strconv.FormatBool(*v.Parts[0].On)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", word, got, want)
		}
		if err == nil && v.Parts[0].Name != "no" {
			t.Errorf("the text no has become %q", v.Parts[0].Name)
		}
	}
}

func TestWhatIsNoDocument(t *testing.T) {
	for in, want := range map[string]string{
		"title: 'a\n":               "f.yaml:",
		"title: a\n---\ntitle: b\n": "f.yaml:3: a second document",
		"- a\n":                     "f.yaml:1: the file: want names",
		"more: &m\n  count: *m\n":   "f.yaml:2: count: want a whole number",
	} {
		var v whole
		if _, err := yamlfile.Decode("f.yaml", []byte(in), &v); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
	for _, in := range []string{"", "# nothing\n", "parts:\n"} {
		var v whole
		if _, err := yamlfile.Decode("f.yaml", []byte(in), &v); err != nil {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v whole
		yamlfile.Decode("f.yaml", b, &v)
	})
}
