// SPDX-License-Identifier: Apache-2.0

// Package goldentest holds input structs against the requests that the AWS SDK
// for Go sends. Each SDK service module ships one golden request per operation
// with every parameter set once (lists twice); this package finds that file in
// the module cache and reads it. It is for tests only, needs the go command, and
// uses no network.
package goldentest

import (
	"bufio"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/api/sdkmodel"
)

// Load returns the parameters of the SDK's golden request for an EC2 operation,
// Action and Version among them. The test fails when there is none.
func Load(t testing.TB, action string) url.Values {
	t.Helper()
	return LoadFrom(t, "ec2", action)
}

// LoadFrom is Load for another service module of the SDK, for example
// elasticloadbalancingv2 or sts. The module must be required by go.mod.
func LoadFrom(t testing.TB, module, action string) url.Values {
	t.Helper()
	dir, err := moduleDir(module)
	if err != nil {
		t.Fatalf("find the SDK module of %s: %v", module, err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "request_snapshot", action+".request.snap"))
	if err != nil {
		t.Fatalf("golden request of %s: %v", action, err)
	}
	// Request line, headers, an empty line before each, then the body.
	text := string(raw)
	i := strings.LastIndex(text, "\n\n")
	if i < 0 {
		t.Fatalf("golden request of %s has no body", action)
	}
	values, err := url.ParseQuery(strings.TrimSpace(text[i+2:]))
	if err != nil {
		t.Fatalf("golden request of %s: %v", action, err)
	}
	if values.Get("Action") != action {
		t.Fatalf("golden request of %s has the action %q", action, values.Get("Action"))
	}
	return values
}

// LoadREST is the SDK's golden request for an operation of a REST service.
func LoadREST(t testing.TB, module, action string) *http.Request {
	t.Helper()
	dir, err := moduleDir(module)
	if err != nil {
		t.Fatalf("find the SDK module of %s: %v", module, err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "request_snapshot", action+".request.snap"))
	if err != nil {
		t.Fatalf("golden request of %s: %v", action, err)
	}
	line, err := bufio.NewReader(strings.NewReader(string(raw))).ReadString('\n')
	method, target, ok := strings.Cut(strings.TrimSpace(line), " ")
	if err != nil || !ok {
		t.Fatalf("golden request of %s: its first line is %q", action, line)
	}
	// The body, if there is one, is the last part.
	body := string(raw)[strings.LastIndex(string(raw), "\n\n")+2:]
	r, err := http.NewRequest(method, "http://127.0.0.1"+target, strings.NewReader(strings.TrimSpace(body)))
	if err != nil {
		t.Fatalf("golden request of %s: %v", action, err)
	}
	return r
}

var dirs sync.Map // module -> func() (string, error)

func moduleDir(module string) (string, error) {
	find, _ := dirs.LoadOrStore(module, sync.OnceValues(func() (string, error) {
		out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/"+module).Output()
		return strings.TrimSpace(string(out)), err
	}))
	return find.(func() (string, error))()
}

// Cover requires that the input struct which dst points to and the SDK's golden
// request name the same parameters:
//
//   - every parameter of the request is a field of the struct or refused by it;
//   - every parameter of the struct, refused ones too, is in the request, so
//     that no tag is misspelt;
//   - the request without its refused parameters decodes into dst.
//
// It returns the refused parameters as sent. The module is as for LoadFrom.
func Cover(t testing.TB, d awsquery.Dialect, module, action string, dst any) (refused []string) {
	t.Helper()
	form, err := awsquery.FormOf(requestOf(t, d, module, action))
	if err != nil {
		t.Fatalf("%s: %v", action, err)
	}
	return CoverForm(t, d, form, action, dst)
}

// CoverForm is Cover for a golden request that was read into a form.
func CoverForm(t testing.TB, d awsquery.Dialect, form *awsquery.Form, action string, dst any) (refused []string) {
	t.Helper()
	values := url.Values{}
	for _, name := range form.Names() {
		values.Set(name, form.Get(name))
	}
	unknown, refused, err := awsquery.Coverage(d, form, reflect.TypeOf(dst))
	if err != nil {
		t.Fatalf("%s: %v", action, err)
	}
	if len(unknown) > 0 {
		t.Errorf("%s: the input struct neither takes nor refuses %s", action, strings.Join(general(unknown), ", "))
	}
	params, err := awsquery.Describe(d, reflect.TypeOf(dst))
	if err != nil {
		t.Fatalf("%s: %v", action, err)
	}
	sent := general(form.Names())
	for _, p := range params {
		if !slices.ContainsFunc(sent, func(name string) bool { return names(p, name) }) {
			t.Errorf("%s: the SDK does not send the parameter %s of the input struct", action, p.Name)
		}
	}
	for _, name := range slices.Concat(unknown, refused) {
		values.Del(name)
	}
	// The golden request has the first value of AWS's list, or an invented one.
	for name := range values {
		for _, p := range params {
			if p.Name == generalName(name) && len(p.Enum) > 0 {
				values.Set(name, p.Enum[0])
			}
		}
	}
	if form, err = awsquery.FormOf(values); err == nil {
		err = awsquery.Decode(d, form, dst)
	}
	if err != nil {
		t.Errorf("%s: golden request: %v", action, err)
	}
	return refused
}

// requestOf is the golden request of an operation. A module of the JSON protocol
// has none: it is made of what the SDK's encoders write.
func requestOf(t testing.TB, d awsquery.Dialect, module, action string) url.Values {
	t.Helper()
	if d != awsquery.JSON {
		return LoadFrom(t, module, action)
	}
	model, err := sdkmodel.Load(module)
	if err != nil {
		t.Fatal(err)
	}
	values, err := model.Request(action)
	if err != nil {
		t.Fatalf("request of %s: %v", action, err)
	}
	return values
}

// names reports whether a generalised wire name is parameter p, or below it when p is refused
// or a structure.
func names(p awsquery.Param, name string) bool {
	return name == p.Name || ((p.Mode == awsquery.IsRefused || p.Kind == awsquery.Structure) && strings.HasPrefix(name, p.Name+"."))
}

var index = regexp.MustCompile(`\.[0-9]+(\.|$)`)

// generalName turns Tag.2.Key into Tag.N.Key.
func generalName(name string) string { return index.ReplaceAllString(name, ".N$1") }

func general(list []string) []string {
	set := map[string]bool{}
	for _, name := range list {
		set[generalName(name)] = true
	}
	return slices.Sorted(maps.Keys(set))
}
