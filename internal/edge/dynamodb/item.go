// SPDX-License-Identifier: Apache-2.0

package dynamodb

import (
	"encoding/base64"
	"math/big"
	"strings"

	"postern.dev/postern/internal/edge/call"
)

// reading is what a part of a request says of one item, or of the items it looks
// for.
type reading struct {
	// values are the values of attributes that may be the partition key, by name;
	// nil for what names no item.
	values map[string][]string
	// unreadable are those of them whose values cannot be compared, with why.
	unreadable map[string]*call.Error
	// attributes are the top-level attributes named.
	attributes []string
	// selected is dynamodb:Select, projected says that attributes to return are
	// named.
	selected  string
	projected bool
}

// readItem reads the members that operations on items share.
func readItem(o call.Object) (*reading, *call.Error) {
	r := &reading{}
	if x, e := o.Object("Key"); e != nil {
		return nil, e
	} else if x != nil {
		if e := r.key(x); e != nil {
			return nil, e
		}
	}
	if x, e := o.Object("Item"); e != nil {
		return nil, e
	} else if x != nil {
		if e := r.key(x); e != nil {
			return nil, e
		}
	}
	names, e := o.Object("ExpressionAttributeNames")
	if e != nil {
		return nil, e
	}
	for _, member := range []string{"ProjectionExpression", "KeyConditionExpression", "FilterExpression", "ConditionExpression", "UpdateExpression"} {
		s, e := o.String(member)
		if e != nil {
			return nil, e
		}
		tokens, e := tokens(s, names)
		if e != nil {
			return nil, e
		}
		for _, t := range tokens {
			if t.kind == attribute {
				r.attributes = append(r.attributes, t.text)
			}
		}
		if member == "ProjectionExpression" && s != "" {
			r.projected = true
		}
	}
	// What came before expressions.
	toGet, e := o.Strings("AttributesToGet")
	if e != nil {
		return nil, e
	}
	r.projected = r.projected || len(toGet) > 0
	r.attributes = append(r.attributes, toGet...)
	for _, member := range []string{"Expected", "AttributeUpdates", "KeyConditions", "QueryFilter", "ScanFilter"} {
		x, e := o.Object(member)
		if e != nil {
			return nil, e
		}
		keys, ok := x.Keys()
		if !ok {
			return nil, invalid("A member of %s cannot be read.", member)
		}
		r.attributes = append(r.attributes, keys...)
	}
	return r, nil
}

// selects marks what returns attributes.
func (r *reading) selects() {
	r.selected = "ALL_ATTRIBUTES"
	if r.projected {
		r.selected = "SPECIFIC_ATTRIBUTES"
	}
}

// keyOf reads a DeleteRequest, item a PutRequest.
func (r *reading) keyOf(o call.Object) *call.Error {
	x, e := o.Object("Key")
	if e != nil {
		return e
	}
	return r.key(x)
}

func (r *reading) item(o call.Object) *call.Error {
	x, e := o.Object("Item")
	if e != nil {
		return e
	}
	return r.key(x)
}

// key reads the attributes of a key or of a whole item. Where a request has both,
// some backend may go by either.
func (r *reading) key(o call.Object) *call.Error {
	names, ok := o.Keys()
	if !ok {
		return invalid("The name of an attribute cannot be read.")
	}
	if r.values == nil {
		r.values = map[string][]string{}
	}
	r.attributes = append(r.attributes, names...)
	for _, name := range names {
		v, ok := o[name].(call.Object)
		if !ok {
			return invalid("The attribute %s has no value.", call.Cut(name, 64))
		}
		text, scalar, e := scalarText(v)
		if _, isText := v["S"]; e != nil && !isText {
			return e
		}
		if e != nil {
			// Whatever it is, it matters only as the partition key's value.
			if r.unreadable == nil {
				r.unreadable = map[string]*call.Error{}
			}
			r.unreadable[name], scalar = e, true
		}
		if scalar {
			r.values[name] = append(r.values[name], text)
		}
	}
	return nil
}

// scalarText is a value that a key can have, as text: {"S":"x"}, {"N":"1"} or
// {"B":"eA=="}. Numbers and bytes are written in one way.
func scalarText(v call.Object) (text string, scalar bool, _ *call.Error) {
	if len(v) != 1 {
		return "", false, invalid("A value has one type.")
	}
	for _, kind := range []string{"S", "N", "B"} {
		if _, ok := v[kind]; !ok {
			continue
		}
		text, e := v.String(kind)
		if e != nil {
			return "", false, e
		}
		switch kind {
		case "N":
			n, ok := number(text)
			if !ok {
				return "", false, invalid("A value provided cannot be converted into a number")
			}
			return n, true, nil
		case "B":
			b, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return "", false, invalid("A value is not base64.")
			}
			return base64.StdEncoding.EncodeToString(b), true, nil
		}
		return text, true, nil
	}
	return "", false, nil
}

// number writes a number in one way. DynamoDB's have 38 digits and exponents of up
// to three.
func number(s string) (string, bool) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	if len(mantissa) > 200 || len(exponent) > 4 || strings.Trim(s, "0123456789+-.eE") != "" {
		return "", false
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return "", false
	}
	if r.IsInt() {
		return r.Num().String(), true
	}
	return strings.TrimRight(r.FloatString(400), "0"), true
}

// keyConditions reads which values a Query looks for.
func (r *reading) keyConditions(o call.Object) *call.Error {
	r.values = map[string][]string{}
	s, e := o.String("KeyConditionExpression")
	if e != nil {
		return e
	}
	names, e := o.Object("ExpressionAttributeNames")
	if e != nil {
		return e
	}
	values, e := o.Object("ExpressionAttributeValues")
	if e != nil {
		return e
	}
	list, e := tokens(s, names)
	if e != nil {
		return e
	}
	for i := 0; i+2 < len(list); i++ {
		a, op, v := list[i], list[i+1], list[i+2]
		if a.kind == value {
			a, v = v, a
		}
		if a.kind != attribute || v.kind != value || op.text != "=" {
			continue
		}
		if e := r.addValue(a.text, values, v.text); e != nil {
			return e
		}
	}
	conditions, e := o.Object("KeyConditions")
	if e != nil {
		return e
	}
	for name := range conditions {
		c, e := conditions.Object(name)
		if e != nil {
			return e
		}
		op, e := c.String("ComparisonOperator")
		if e != nil {
			return e
		}
		if op != "EQ" {
			continue
		}
		list, e := c.Objects("AttributeValueList")
		if e != nil {
			return e
		}
		for _, v := range list {
			text, scalar, e := scalarText(v)
			if e != nil {
				return e
			}
			if scalar {
				r.values[name] = append(r.values[name], text)
			}
		}
	}
	return nil
}

func (r *reading) addValue(name string, values call.Object, placeholder string) *call.Error {
	v, ok := values[placeholder].(call.Object)
	if !ok {
		return invalid("The value %s is not defined.", call.Cut(placeholder, 64))
	}
	text, scalar, e := scalarText(v)
	if scalar {
		r.values[name] = append(r.values[name], text)
	}
	return e
}

// kind is what a token of an expression is.
type kind int

const (
	attribute kind = iota // the top of a document path, its placeholder filled in
	value                 // :placeholder
	other                 // keywords, functions, punctuation
)

type token struct {
	kind kind
	text string
}

// words of expressions that are no attributes. All are reserved: an attribute of
// such a name has a placeholder.
var words = map[string]bool{
	"AND": true, "OR": true, "NOT": true, "BETWEEN": true, "IN": true, "SET": true, "REMOVE": true, "ADD": true, "DELETE": true,
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// maxExpression is DynamoDB's bound of an expression.
const maxExpression = 4096

// tokens splits an expression. names are ExpressionAttributeNames.
func tokens(s string, names call.Object) ([]token, *call.Error) {
	if len(s) > maxExpression {
		return nil, invalid("Expression size has exceeded the maximum allowed size.")
	}
	var out []token
	nested := false // the next name is below another
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case wordByte(c) || c == '#' || c == ':':
			end := i + 1
			for end < len(s) && wordByte(s[end]) {
				end++
			}
			word := s[i:end]
			i = end
			rest := strings.TrimLeft(s[end:], " \t\r\n")
			switch {
			case nested:
				nested = false
			case c == ':':
				out = append(out, token{value, word})
			case c == '#':
				name, e := names.String(word)
				if e != nil || name == "" {
					return nil, invalid("An expression attribute name used in the document path is not defined; attribute name: %s", call.Cut(word, 64))
				}
				out = append(out, token{attribute, name})
			case words[strings.ToUpper(word)] || strings.HasPrefix(rest, "(") || c >= '0' && c <= '9':
				out = append(out, token{other, word})
			default:
				out = append(out, token{attribute, word})
			}
		case c == '.':
			nested = true
			i++
		case strings.IndexByte("=<>(),+-[]", c) >= 0:
			out = append(out, token{other, string(c)})
			i++
		default:
			return nil, invalid("Invalid expression: Syntax error at %q.", call.Cut(s[i:], 16))
		}
	}
	return out, nil
}
