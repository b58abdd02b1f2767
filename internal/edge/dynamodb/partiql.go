// SPDX-License-Identifier: Apache-2.0

package dynamodb

import (
	"slices"
	"strings"

	"postern.dev/postern/internal/edge/call"
)

// maxStatement is DynamoDB's bound of a PartiQL statement.
const maxStatement = 8192

func executeStatement(d *reader, o call.Object) *call.Error { return d.statement(o) }

// batchExecute is BatchExecuteStatement or ExecuteTransaction: decisions for every
// statement.
func batchExecute(d *reader, o call.Object) *call.Error {
	member := "Statements"
	if d.name == "ExecuteTransaction" {
		member = "TransactStatements"
		d.Set("dynamodb:EnclosingOperation", d.name)
	}
	list, e := o.Objects(member)
	if e != nil {
		return e
	}
	if len(list) == 0 {
		return invalid("The request has no statement.")
	}
	for _, s := range list {
		if e := d.statement(s); e != nil {
			return e
		}
	}
	return d.tooMany()
}

// word is a token of a statement.
type word struct {
	text string
	// kind is 'w' for a word, '"' for a quoted name, '\'' for a text, '0' for a
	// number, '?' for a parameter and else the character itself.
	kind byte
}

// is reports whether it is a keyword.
func (w word) is(keyword string) bool { return w.kind == 'w' && strings.EqualFold(w.text, keyword) }

// name reports whether it can name something.
func (w word) name() bool { return w.kind == 'w' || w.kind == '"' }

// statement reads one statement and adds its checks.
func (d *reader) statement(o call.Object) *call.Error {
	text, e := o.String("Statement")
	if e != nil {
		return e
	}
	words, e := split(text)
	if e != nil {
		return e
	}
	params, e := o.Objects("Parameters")
	if e != nil {
		return e
	}
	p := &parser{words: words, params: params}
	s, e := p.parse()
	if e != nil {
		return e
	}
	arn, e := d.table(s.table, s.index)
	if e != nil {
		return e
	}
	r := &reading{attributes: s.attributes, selected: s.selected}
	if s.values != nil {
		r.values = s.values
	}
	from := len(d.Checks)
	if e := d.addItems("dynamodb:PartiQL"+s.action, arn, []*reading{r}); e != nil {
		return e
	}
	if s.exists {
		if e := d.addItems("dynamodb:ConditionCheckItem", arn, []*reading{r}); e != nil {
			return e
		}
	}
	if s.returns != "" {
		for i := from; i < len(d.Checks); i++ {
			d.Checks[i].Context["dynamodb:ReturnValues"] = []string{s.returns}
		}
	}
	if s.action != "Select" {
		return nil
	}
	// Whether a SELECT scans the table depends on the table's keys. Without a
	// WHERE it does; else both must be allowed.
	for i := from; i < len(d.Checks); i++ {
		d.Checks[i].Context["dynamodb:FullTableScan"] = []string{"true"}
	}
	if s.where {
		for _, k := range d.Checks[from:] {
			ctx := map[string][]string{"dynamodb:FullTableScan": {"false"}}
			for key, v := range k.Context {
				if key != "dynamodb:FullTableScan" {
					ctx[key] = v
				}
			}
			d.Checks = append(d.Checks, call.Check{Action: k.Action, Resource: k.Resource, Context: ctx})
		}
	}
	return nil
}

// split cuts a statement into words. Comments are refused: where one ends is read
// in more than one way.
func split(s string) ([]word, *call.Error) {
	if len(s) > maxStatement {
		return nil, invalid("The statement is too long.")
	}
	bad := invalid("Statement wasn't well formed, can't be processed: Unexpected token")
	var out []word
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case strings.HasPrefix(s[i:], "--") || strings.HasPrefix(s[i:], "/*"):
			return nil, invalid("Comments are not taken in a statement.")
		case c == '\'' || c == '"':
			var b strings.Builder
			for i++; ; i++ {
				if i >= len(s) {
					return nil, bad
				}
				if s[i] == '\\' {
					return nil, invalid("A backslash in a statement is read in two ways.")
				}
				if s[i] == c {
					if i+1 < len(s) && s[i+1] == c {
						i++ // doubled: the quote itself
					} else {
						break
					}
				}
				b.WriteByte(s[i])
			}
			i++
			out = append(out, word{b.String(), c})
		case wordByte(c) && (c < '0' || c > '9'):
			end := i
			for end < len(s) && wordByte(s[end]) {
				end++
			}
			out = append(out, word{s[i:end], 'w'})
			i = end
		case c >= '0' && c <= '9':
			end := i
			for end < len(s) && (wordByte(s[end]) || s[end] == '.' || (s[end] == '-' || s[end] == '+') && (s[end-1] == 'e' || s[end-1] == 'E')) {
				end++
			}
			out = append(out, word{s[i:end], '0'})
			i = end
		case strings.IndexByte("?.,()[]{}<>=!+-*/%|:", c) >= 0:
			out = append(out, word{string(c), c})
			i++
		case c == ';' && strings.TrimSpace(s[i+1:]) == "":
			i = len(s)
		default:
			return nil, bad
		}
	}
	return out, nil
}

// parsed is what of a statement decides.
type parsed struct {
	action       string // Select, Insert, Update, Delete
	table, index string
	attributes   []string
	selected     string
	values       map[string][]string // compared for equality, or inserted
	where        bool
	exists       bool // a condition of a transaction
	returns      string
}

type parser struct {
	words  []word
	at     int
	params []call.Object
	param  int // the next parameter
}

func (p *parser) peek() word {
	if p.at < len(p.words) {
		return p.words[p.at]
	}
	return word{}
}

func (p *parser) next() word {
	w := p.peek()
	p.at++
	return w
}

var errStatement = invalid("The statement is none that this endpoint can judge.")

// parse reads a statement. One statement names one table, and no keyword that
// could bring in another appears in it twice.
func (p *parser) parse() (*parsed, *call.Error) {
	s := &parsed{}
	if p.peek().is("EXISTS") {
		p.next()
		if p.next().kind != '(' || len(p.words) == 0 || p.words[len(p.words)-1].kind != ')' {
			return nil, errStatement
		}
		p.words = p.words[:len(p.words)-1]
		s.exists = true
	}
	for i, w := range p.words[min(p.at, len(p.words)):] {
		for _, k := range []string{"SELECT", "INSERT", "UPDATE", "DELETE", "JOIN", "UNION", "INTERSECT", "EXCEPT", "WITH", "LET", "UNPIVOT", "EXEC"} {
			if w.is(k) && i > 0 {
				return nil, errStatement
			}
		}
	}
	start := p.next()
	var e *call.Error
	switch {
	case start.is("SELECT"):
		e = p.parseSelect(s)
	case start.is("INSERT") && !s.exists:
		e = p.parseInsert(s)
	case start.is("UPDATE") && !s.exists:
		e = p.parseUpdate(s)
	case start.is("DELETE") && !s.exists:
		e = p.parseDelete(s)
	default:
		e = errStatement
	}
	if e != nil {
		return nil, e
	}
	slices.Sort(s.attributes)
	s.attributes = slices.Compact(s.attributes)
	return s, nil
}

// tableName reads "table" or "table"."index".
func (p *parser) tableName(s *parsed) *call.Error {
	w := p.next()
	if !w.name() || w.text == "" {
		return errStatement
	}
	s.table = w.text
	if p.peek().kind == '.' {
		p.next()
		i := p.next()
		if !i.name() || i.text == "" || s.action != "Select" {
			return errStatement
		}
		s.index = i.text
	}
	return nil
}

func (p *parser) parseSelect(s *parsed) *call.Error {
	s.action, s.selected = "Select", "SPECIFIC_ATTRIBUTES"
	top := true
	for !p.peek().is("FROM") {
		w := p.next()
		switch {
		case w.kind == 0:
			return errStatement
		case w.kind == '*' && top:
			s.selected = "ALL_ATTRIBUTES"
		case w.name() && top:
			s.attributes = append(s.attributes, w.text)
			top = false
		case w.kind == ',':
			top = true
		case w.kind == '(' || w.kind == ')':
			return errStatement // functions of whole items
		}
	}
	p.next()
	if e := p.tableName(s); e != nil {
		return e
	}
	switch w := p.peek(); {
	case w.kind == 0:
		return nil
	case w.is("ORDER"):
		return nil
	case w.is("WHERE"):
		return p.parseWhere(s)
	}
	return errStatement
}

func (p *parser) parseInsert(s *parsed) *call.Error {
	s.action = "Insert"
	if !p.next().is("INTO") {
		return errStatement
	}
	if e := p.tableName(s); e != nil {
		return e
	}
	if !p.next().is("VALUE") || p.next().kind != '{' {
		return errStatement
	}
	s.values = map[string][]string{}
	for {
		k := p.next()
		if k.kind != '\'' || p.next().kind != ':' {
			return errStatement
		}
		s.attributes = append(s.attributes, k.text)
		text, scalar, e := p.value()
		if e != nil {
			return e
		}
		if scalar {
			s.values[k.text] = append(s.values[k.text], text)
		}
		switch w := p.next(); w.kind {
		case ',':
			continue
		case '}':
			if p.peek().kind != 0 {
				return errStatement
			}
			return nil
		default:
			return errStatement
		}
	}
}

// value reads a value of an INSERT or of a comparison.
func (p *parser) value() (text string, scalar bool, _ *call.Error) {
	w := p.next()
	switch w.kind {
	case '\'':
		return w.text, true, nil
	case '-', '0':
		if w.kind == '-' {
			w = p.next()
			w.text = "-" + w.text
		}
		n, ok := number(w.text)
		if !ok || w.kind != '0' {
			return "", false, errStatement
		}
		return n, true, nil
	case '?':
		if p.param >= len(p.params) {
			return "", false, invalid("Number of parameters in request and statement don't match.")
		}
		v := p.params[p.param]
		p.param++
		return scalarText(v)
	case '[', '{', '<':
		// A collection: over to its end. It is no key, but parameters in it count.
		depth := 1
		for depth > 0 {
			switch w := p.next(); w.kind {
			case 0:
				return "", false, errStatement
			case '[', '{', '<':
				depth++
			case ']', '}', '>':
				depth--
			case '?':
				p.param++
			}
		}
		return "", false, nil
	case 'w':
		if w.is("true") || w.is("false") || w.is("null") || w.is("missing") {
			return "", false, nil
		}
	}
	return "", false, errStatement
}

func (p *parser) parseUpdate(s *parsed) *call.Error {
	s.action = "Update"
	if e := p.tableName(s); e != nil {
		return e
	}
	if !p.peek().is("SET") && !p.peek().is("REMOVE") {
		return errStatement
	}
	for !p.peek().is("WHERE") {
		w := p.next()
		switch {
		case w.kind == 0:
			return errStatement
		case w.kind == '?':
			p.param++
		default:
			p.attribute(s, w)
		}
	}
	return p.parseWhere(s)
}

func (p *parser) parseDelete(s *parsed) *call.Error {
	s.action = "Delete"
	if !p.next().is("FROM") {
		return errStatement
	}
	if e := p.tableName(s); e != nil {
		return e
	}
	if !p.peek().is("WHERE") {
		return errStatement
	}
	return p.parseWhere(s)
}

// partiWords are words of conditions that name no attribute.
var partiWords = []string{
	"AND", "OR", "NOT", "BETWEEN", "IN", "IS", "SET", "REMOVE", "WHERE", "ORDER", "BY", "ASC", "DESC", "RETURNING", "ALL",
	"MODIFIED", "OLD", "NEW", "NULL", "MISSING", "TRUE", "FALSE", "VALUE", "LIKE",
}

// attribute takes a name if it is an attribute's: not below another, no keyword, no
// function.
func (p *parser) attribute(s *parsed, w word) bool {
	if !w.name() || p.at >= 2 && p.words[p.at-2].kind == '.' || p.peek().kind == '(' {
		return false
	}
	if w.kind == 'w' && slices.ContainsFunc(partiWords, func(k string) bool { return strings.EqualFold(k, w.text) }) {
		return false
	}
	s.attributes = append(s.attributes, w.text)
	return true
}

// returning are the values of dynamodb:ReturnValues for what a statement returns.
var returning = map[string]string{
	"ALL OLD": "ALL_OLD", "ALL NEW": "ALL_NEW", "MODIFIED OLD": "UPDATED_OLD", "MODIFIED NEW": "UPDATED_NEW",
}

// parseWhere reads a condition and what follows it: which attributes it names, and
// with which values they are compared for equality.
func (p *parser) parseWhere(s *parsed) *call.Error {
	p.next()
	s.where = true
	s.values = map[string][]string{}
	take := func(name string) *call.Error {
		text, scalar, e := p.value()
		if e == nil && scalar {
			s.values[name] = append(s.values[name], text)
		}
		return e
	}
	for p.peek().kind != 0 {
		w := p.next()
		switch {
		case w.is("FROM"):
			return errStatement
		case (w.kind == '?' || w.kind == '\'' || w.kind == '0' || w.kind == ')') && p.peek().kind == '=':
			return errStatement // write the attribute first
		case w.kind == '?':
			p.param++
			continue
		case w.is("RETURNING"):
			if s.returns = returning[strings.ToUpper(p.next().text+" "+p.next().text)]; s.returns == "" {
				return errStatement
			}
			continue
		case !p.attribute(s, w):
			continue
		}
		switch n := p.peek(); {
		case n.kind == '=':
			p.next()
			if k := p.peek(); k.kind == '\'' || k.kind == '0' || k.kind == '-' || k.kind == '?' {
				if e := take(w.text); e != nil {
					return e
				}
			}
		case n.is("IN"):
			p.next()
			open := p.next()
			if open.kind != '[' && open.kind != '(' {
				return errStatement
			}
			for {
				if e := take(w.text); e != nil {
					return e
				}
				if sep := p.next(); sep.kind == ']' || sep.kind == ')' {
					break
				} else if sep.kind != ',' {
					return errStatement
				}
			}
		}
	}
	return nil
}
