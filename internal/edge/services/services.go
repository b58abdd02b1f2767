// SPDX-License-Identifier: Apache-2.0

// Package services reads requests of services whose calls name what they are about
// in a parameter: SNS, SQS, STS, EC2, Elastic Load Balancing, CloudWatch Logs and
// ECR with its registry. Each is a table of operations with the actions and resources that the
// service authorization reference names; an operation that is in none is unknown.
//
// Ids of EC2 say what they are by their prefix. Its operations that only read are on
// "*", as AWS has it, if their names begin with Describe; others are on every
// resource they name and on what they make.
package services

import (
	"cmp"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"postern.dev/postern/internal/edge/call"
)

// Service is one of the services.
type Service struct {
	// Namespace is the prefix of its actions.
	Namespace string
	// signing are the names that signatures for it are made for.
	signing []string
	// target is the prefix of X-Amz-Target, "" for a service without a JSON
	// protocol; query says that it has the query protocol.
	target string
	query  bool
	// operations by name.
	operations map[string]operation
	// path reads what the request's path names; nil if only "/" is one.
	path func(rc *reader, path string) bool
	// maxBody bounds a request.
	maxBody int64
}

// operation fills in the checks of a call.
type operation func(*reader) *call.Error

// reader makes the call of one request.
type reader struct {
	*call.Call
	service *Service
	name    string // of the operation
	values  values
	region  string
	account string
	named   string // what the path names
}

// values are the parameters of a request, of either protocol.
type values interface {
	// text is a parameter, "" if it is not there.
	text(name string) (string, *call.Error)
	// list is a list of texts.
	list(name string) ([]string, *call.Error)
	// pairs is a list of objects, each as the texts of two members.
	pairs(name, key, value string) ([][2]string, *call.Error)
}

func invalid(format string, args ...any) *call.Error {
	return call.Refuse(call.InvalidRequest, format, args...)
}

// add adds a check of the service's action.
func (r *reader) add(action, resource string) { r.Add(r.service.Namespace+":"+action, resource) }

// arn is the ARN of something of the caller's account.
func (r *reader) arn(service, rest string) string {
	return "arn:aws:" + service + ":" + r.region + ":" + r.account + ":" + rest
}

// Read says what a request does.
func (s *Service) Read(r call.Request) (*call.Call, *call.Error) {
	c, path, q, e := call.ReadHead(r, s.signing...)
	if e != nil {
		return nil, e
	}
	rc := &reader{Call: c, service: s, region: r.Region}
	if r.Account != nil {
		rc.account = r.Account(c.Claim.KeyID)
	}
	decoded, err := url.PathUnescape(path)
	if err != nil || decoded != "/" && (s.path == nil || !s.path(rc, decoded)) {
		c.MakeUnknown(s.Namespace, "no action is known for the path")
		return c, nil
	}
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	media = strings.ToLower(strings.TrimSpace(media))
	_, hasTarget := r.Header["X-Amz-Target"]
	switch {
	case s.target != "" && hasTarget && r.Method == http.MethodPost && len(q.Plain) == 0 && !q.InQuery["x-amz-target"]:
		name, ok := strings.CutPrefix(q.Amz("x-amz-target"), s.target+".")
		if !ok {
			break
		}
		return s.whole(rc, r, name, func(body []byte) *call.Error {
			o, e := call.ParseJSON(body)
			rc.values = jsonValues{o}
			return e
		})
	case s.query && !hasTarget && r.Method == http.MethodGet:
		f := form{}
		for k, v := range q.Plain {
			f[k] = v
		}
		return s.form(rc, f, signature(f))
	case s.query && !hasTarget && r.Method == http.MethodPost && media == "application/x-www-form-urlencoded" && len(q.Plain) == 0:
		if e := call.PlainBody(r.Header); e != nil {
			return nil, e
		}
		c.Checks = []call.Check{{Action: s.Namespace + ":*", Resource: "*"}}
		c.Whole(s.maxBody, func(body []byte) *call.Error {
			f := form{}
			if e := f.parse(string(body)); e != nil {
				return e
			}
			_, e := s.form(rc, f, false)
			return e
		})
		return c, nil
	}
	c.MakeUnknown(s.Namespace, "no action is known for %s of this kind", r.Method)
	return c, nil
}

// whole reads a body and then does what the operation's table says.
func (s *Service) whole(rc *reader, r call.Request, name string, parse func([]byte) *call.Error) (*call.Call, *call.Error) {
	if e := call.PlainBody(r.Header); e != nil {
		return nil, e
	}
	op, ok := s.operations[name]
	if !ok {
		rc.MakeUnknown(s.Namespace, "no action is known for the operation %q", call.Cut(name, 64))
		return rc.Call, nil
	}
	rc.name = name
	rc.Checks = []call.Check{{Action: s.Namespace + ":" + name, Resource: "*"}}
	rc.Whole(s.maxBody, func(body []byte) *call.Error {
		if e := parse(body); e != nil {
			return e
		}
		return rc.run(op)
	})
	return rc.Call, nil
}

// form does what the table says of a request of the query protocol.
func (s *Service) form(rc *reader, f form, old bool) (*call.Call, *call.Error) {
	rc.values = f
	name, e := f.text("Action")
	if e != nil {
		return nil, e
	}
	if old {
		// Version 2 of signatures, in the parameters, which nobody takes any more.
		return nil, invalid("Signature version 2 is not taken.")
	}
	op, ok := s.operations[name]
	if !ok {
		rc.MakeUnknown(s.Namespace, "no action is known for the operation %q", call.Cut(name, 64))
		return rc.Call, nil
	}
	rc.name = name
	if e := rc.run(op); e != nil {
		return nil, e
	}
	return rc.Call, nil
}

func (r *reader) run(op operation) *call.Error {
	r.Checks = nil
	if e := op(r); e != nil {
		return e
	}
	if len(r.Checks) == 0 {
		return invalid("The request names nothing that %s could be done to.", r.name)
	}
	if len(r.Checks) > maxChecks {
		return invalid("The request names too much at a time.")
	}
	return nil
}

// maxChecks bounds the decisions of one request.
const maxChecks = 1000

// signature reports whether there is a signature of version 2.
func signature(f form) bool {
	_, ok := f["AWSAccessKeyId"]
	return ok
}

// form is a request of the query protocol.
type form map[string]string

// maxParams bounds the parameters of a form.
const maxParams = 5000

func (f form) parse(body string) *call.Error {
	n := 0
	lower := map[string]bool{}
	for part := range strings.SplitSeq(body, "&") {
		if part == "" {
			continue
		}
		if n++; n > maxParams || strings.Contains(part, ";") {
			return invalid("The parameters cannot be read.")
		}
		name, value, _ := strings.Cut(part, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil || !call.Text(name) || !call.Text(value) || strings.HasPrefix(strings.ToLower(name), "x-amz-") {
			return invalid("The parameters cannot be read.")
		}
		if lower[strings.ToLower(name)] {
			return invalid("The parameter %q appears twice.", call.Cut(name, 64))
		}
		lower[strings.ToLower(name)] = true
		f[name] = value
	}
	return nil
}

func (f form) text(name string) (string, *call.Error) {
	for k := range f {
		if k != name && strings.EqualFold(k, name) {
			return "", invalid("The parameter %q could be taken for another.", call.Cut(k, 64))
		}
	}
	return f[name], nil
}

// list reads Name.1, Name.member.1 or Name.Entry.1.
func (f form) list(name string) ([]string, *call.Error) {
	var keys []string
	for k := range f {
		rest, ok := cutFold(k, name+".")
		if !ok {
			continue
		}
		if r, ok := cutFold(rest, "member."); ok {
			rest = r
		}
		if strings.Trim(rest, "0123456789") == "" {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var out []string
	for _, k := range keys {
		out = append(out, f[k])
	}
	return out, nil
}

func (f form) pairs(name, key, value string) ([][2]string, *call.Error) {
	var out [][2]string
	for k, v := range f {
		rest, ok := cutFold(k, name+".")
		if !ok {
			continue
		}
		if base, ok := strings.CutSuffix(k, "."+key); ok && strings.Contains(rest, "."+key) {
			out = append(out, [2]string{v, f[base+"."+value]})
		}
	}
	slices.SortFunc(out, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return out, nil
}

// cutFold is strings.CutPrefix without regard to case: some servers have none.
func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// jsonValues is a request of a JSON protocol.
type jsonValues struct{ call.Object }

func (j jsonValues) text(name string) (string, *call.Error)   { return j.String(name) }
func (j jsonValues) list(name string) ([]string, *call.Error) { return j.Strings(name) }

func (j jsonValues) pairs(name, key, value string) ([][2]string, *call.Error) {
	objects, e := j.Objects(name)
	if e != nil {
		return nil, e
	}
	var out [][2]string
	for _, o := range objects {
		k, e := o.String(key)
		if e != nil {
			return nil, e
		}
		v, e := o.String(value)
		if e != nil {
			return nil, e
		}
		out = append(out, [2]string{k, v})
	}
	return out, nil
}

// The operations' ways to name what they are about.

// everywhere is an operation on no resource.
func everywhere(r *reader) *call.Error {
	r.add(r.name, "*")
	return nil
}

var anyARN = regexp.MustCompile(`^arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]*:[^\s*?]{1,1000}$`)

// byARN is an operation on what parameters name by ARN; at least one must be there.
// action is "" if the operation's name is.
func byARN(action string, params ...string) operation {
	return func(r *reader) *call.Error {
		action := cmp.Or(action, r.name)
		for _, p := range params {
			one, e := r.values.text(p)
			if e != nil {
				return e
			}
			list := []string{one}
			if one == "" {
				if list, e = r.values.list(p); e != nil {
					return e
				}
			}
			for _, arn := range list {
				if !anyARN.MatchString(arn) {
					return invalid("%s is no ARN.", p)
				}
				r.add(action, arn)
			}
		}
		return nil
	}
}

// tagged adds the tags that an operation sets or takes away.
func tagged(op operation, name, key, value, keys string) operation {
	return func(r *reader) *call.Error {
		if e := op(r); e != nil {
			return e
		}
		tags, e := r.values.pairs(name, key, value)
		if e != nil {
			return e
		}
		for _, t := range tags {
			if e := r.SetTags(t[0], t[1]); e != nil {
				return e
			}
		}
		gone, e := r.values.list(keys)
		if e != nil {
			return e
		}
		r.Context["aws:TagKeys"] = append(r.Context["aws:TagKeys"], gone...)
		if len(r.Context["aws:TagKeys"]) == 0 {
			delete(r.Context, "aws:TagKeys")
		}
		return nil
	}
}

// with sets condition keys from parameters.
func with(op operation, keys map[string]string) operation {
	return func(r *reader) *call.Error {
		for key, param := range keys {
			v, e := r.values.text(param)
			if e != nil {
				return e
			}
			r.Set(key, v)
		}
		return op(r)
	}
}

// all makes a table of operations that are alike.
func all(op operation, names string) map[string]operation {
	out := map[string]operation{}
	for n := range strings.FieldsSeq(names) {
		out[n] = op
	}
	return out
}

// table joins tables.
func table(tables ...map[string]operation) map[string]operation {
	out := map[string]operation{}
	for _, t := range tables {
		for n, op := range t {
			out[n] = op
		}
	}
	return out
}
