// SPDX-License-Identifier: Apache-2.0

// Package sdkmodel reads the published model of an AWS service out of the AWS
// SDK for Go: which elements an answer has, where, of which type. AWS's own
// model is not on every machine; the SDK's source is, in the module cache,
// because tests require it. It was generated from the model and still names
// every element exactly as AWS sends it, although its decoder ignores case.
// Other clients (botocore) do not ignore case.
//
// It is for tests and generated documents, needs the go command, and uses no
// network. Nothing here is linked into the server.
package sdkmodel

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Kind is what an element holds.
type Kind string

// The kinds. An enum is a String with values.
const (
	String    Kind = "string"
	Boolean   Kind = "boolean"
	Integer   Kind = "integer"
	Long      Kind = "long"
	Double    Kind = "double"
	Timestamp Kind = "timestamp"
	Blob      Kind = "blob"
	Structure Kind = "structure"
	List      Kind = "list"
	Map       Kind = "map"
)

// Shape is one element of the model. Shapes refer to one another and may be
// recursive.
type Shape struct {
	Kind Kind
	// Enum holds the values of an enum as the model spells them, nil if it is none.
	Enum []string
	// Members are the elements of a structure by name.
	Members map[string]*Shape
	// Item is the name of a list's children, Elem what they hold. For a map
	// Elem is the value.
	Item string
	Elem *Shape
}

// Names lists the names of a structure's elements, sorted.
func (s *Shape) Names() []string { return slices.Sorted(maps.Keys(s.Members)) }

// Model is the published model of one service, as far as answers go.
type Model struct {
	prefix string // of the decoders' names
	funcs  map[string]*ast.FuncDecl
	enums  map[string][]string

	mu     sync.Mutex
	shapes map[string]*Shape
}

var loaded sync.Map // module -> func() (*Model, error)

// Load reads the model from a service module of the SDK, for example ec2 or
// elasticloadbalancingv2. The module must be required by go.mod. The second
// call for a module is free.
func Load(module string) (*Model, error) {
	f, _ := loaded.LoadOrStore(module, sync.OnceValues(func() (*Model, error) {
		m, err := load(module)
		if err != nil {
			return nil, fmt.Errorf("model of the SDK module %s: %w", module, err)
		}
		return m, nil
	}))
	return f.(func() (*Model, error))()
}

func load(module string) (*Model, error) {
	path := "github.com/aws/aws-sdk-go-v2/service/" + module
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", path).Output()
	if err != nil {
		return nil, err
	}
	dir := strings.TrimSpace(string(out))
	if dir == "" { // nothing that was built so far needed it
		return nil, fmt.Errorf("it is not in the module cache: run go mod download %s", path)
	}
	return read(dir)
}

// read makes a model from the directory of a service module.
func read(dir string) (*Model, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, filepath.Join(dir, "deserializers.go"), nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	m := &Model{funcs: map[string]*ast.FuncDecl{}, enums: map[string][]string{}, shapes: map[string]*Shape{}}
	for _, d := range file.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if i := strings.Index(fn.Name.Name, "_deserializeOpDocument"); i > 0 && m.prefix == "" {
			m.prefix = fn.Name.Name[:i]
		}
		name := fn.Name.Name
		if fn.Recv != nil {
			name = typeName(fn.Recv.List[0].Type) // one method HandleDeserialize per operation
		}
		m.funcs[name] = fn
	}
	if m.prefix == "" {
		return nil, fmt.Errorf("%s has no decoders of operations", dir)
	}
	if strings.HasPrefix(m.prefix, "awsAwsjson") { // requests come from the encoders too
		if file, err = parser.ParseFile(fset, filepath.Join(dir, "serializers.go"), nil, parser.SkipObjectResolution); err != nil {
			return nil, err
		}
		for _, d := range file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				m.funcs[fn.Name.Name] = fn
			}
		}
	}
	if file, err = parser.ParseFile(fset, filepath.Join(dir, "types", "enums.go"), nil, parser.SkipObjectResolution); err != nil {
		// A service without enums has no such file.
		if matches, _ := filepath.Glob(filepath.Join(dir, "types", "*.go")); len(matches) > 0 {
			return m, nil
		}
		return nil, err
	}
	for _, d := range file.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "Values" {
			m.enums[typeName(fn.Recv.List[0].Type)] = literals(fn.Body)
		}
	}
	return m, nil
}

// Operation is the shape of an operation's answer: a structure, without
// elements when it answers nothing. The request id and what wraps the answer
// are the protocol's and not part of it.
func (m *Model) Operation(name string) (*Shape, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.funcs[m.prefix+"_deserializeOp"+name] == nil {
		return nil, fmt.Errorf("the SDK has no operation %s", name)
	}
	fn := m.prefix + "_deserializeOpDocument" + name + "Output"
	if m.funcs[fn] == nil {
		return &Shape{Kind: Structure, Members: map[string]*Shape{}}, nil
	}
	return m.shape(fn)
}

// shape reads the shape that one decoder decodes.
func (m *Model) shape(name string) (*Shape, error) {
	if s := m.shapes[name]; s != nil {
		return s, nil
	}
	fn := m.funcs[name]
	if fn == nil {
		return nil, fmt.Errorf("no decoder %s", name)
	}
	s := &Shape{}
	m.shapes[name] = s
	target, ok := fn.Type.Params.List[0].Type.(*ast.StarExpr)
	if !ok {
		return nil, fmt.Errorf("%s: takes no pointer", name)
	}
	var err error
	switch t := target.X.(type) {
	case *ast.StarExpr:
		s.Kind, s.Members = Structure, map[string]*Shape{}
		for element, body := range cases(fn.Body) {
			if s.Members[element], err = m.value(body); err != nil {
				return nil, fmt.Errorf("%s: element %s: %w", name, element, err)
			}
		}
	case *ast.ArrayType:
		s.Kind = List
		for element, body := range cases(fn.Body) {
			s.Item = element
			if s.Elem, err = m.value(body); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		if body := loop(fn.Body); s.Elem == nil && body != nil { // JSON, whose lists have no names
			if s.Elem, err = m.value(&ast.CaseClause{Body: body.List}); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		if s.Elem == nil {
			return nil, fmt.Errorf("%s: a list without children", name)
		}
	case *ast.MapType:
		s.Kind = Map
		entry := m.funcs[name+"Unwrapped"]
		if entry == nil {
			return nil, fmt.Errorf("%s: a map without entries", name)
		}
		if s.Elem, err = m.value(cases(entry.Body)["value"]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	default:
		return nil, fmt.Errorf("%s: decodes a %T", name, t)
	}
	return s, nil
}

// cases finds what a decoder does for which element.
func cases(body *ast.BlockStmt) map[string]*ast.CaseClause {
	out := map[string]*ast.CaseClause{}
	ast.Inspect(body, func(n ast.Node) bool {
		c, ok := n.(*ast.CaseClause)
		if !ok {
			return true
		}
		for _, e := range c.List {
			if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING { // JSON
				if s, err := strconv.Unquote(lit.Value); err == nil {
					out[s] = c
				}
			}
			call, ok := e.(*ast.CallExpr)
			if !ok || len(call.Args) != 2 || calledName(call) != "strings.EqualFold" {
				continue
			}
			if lit, ok := call.Args[0].(*ast.BasicLit); ok {
				if s, err := strconv.Unquote(lit.Value); err == nil {
					out[s] = c
				}
			}
		}
		return true
	})
	return out
}

// loop is the body of a decoder's loop over a list, nil if it has none.
func loop(b *ast.BlockStmt) *ast.BlockStmt {
	for _, s := range b.List {
		if r, ok := s.(*ast.RangeStmt); ok {
			return r.Body
		}
	}
	return nil
}

// value reads what one case decodes: another decoder's shape, or the scalar
// that it assigns in the end.
func (m *Model) value(c *ast.CaseClause) (*Shape, error) {
	if c == nil {
		return nil, fmt.Errorf("not decoded")
	}
	var decoder, scalar string
	plain := "ptr.String" // what xtv is when it is assigned as it is
	ast.Inspect(c, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if f := calledName(n); strings.HasPrefix(f, m.prefix+"_deserializeDocument") {
				decoder = f
			} else if f == "strconv.ParseBool" {
				plain = "ptr.Bool"
			}
		case *ast.AssignStmt:
			if target := exprName(n.Lhs[0]); strings.HasPrefix(target, "sv.") || target == "col" || target == "ev" {
				if call, ok := n.Rhs[0].(*ast.CallExpr); ok {
					scalar = calledName(call)
				} else if text := exprName(n.Rhs[0]); text == "xtv" || text == "jtv" {
					scalar = plain
				}
			}
		}
		return true
	})
	if decoder != "" {
		if strings.HasSuffix(decoder, "Unwrapped") {
			return nil, fmt.Errorf("%s: lists without a wrapper are not known here", decoder)
		}
		return m.shape(decoder)
	}
	if enum, ok := strings.CutPrefix(scalar, "types."); ok {
		values := m.enums[enum]
		if len(values) == 0 {
			return nil, fmt.Errorf("the enum %s has no values", enum)
		}
		return &Shape{Kind: String, Enum: values}, nil
	}
	kinds := map[string]Kind{
		"ptr.String": String, "ptr.Bool": Boolean, "ptr.Int32": Integer, "int32": Integer, "ptr.Int64": Long,
		"ptr.Float64": Double, "ptr.Float32": Double, "ptr.Time": Timestamp, "base64.StdEncoding.DecodeString": Blob,
	}
	if k, ok := kinds[scalar]; ok {
		return &Shape{Kind: k}, nil
	}
	return nil, fmt.Errorf("unknown value %q", scalar)
}

// exprName spells a name, or a selector of one.
func exprName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return exprName(e.X) + "." + e.Sel.Name
	}
	return ""
}

func calledName(c *ast.CallExpr) string { return exprName(c.Fun) }

func typeName(e ast.Expr) string {
	if s, ok := e.(*ast.StarExpr); ok {
		e = s.X
	}
	return exprName(e)
}

// literals are the string literals in a block, in order.
func literals(b *ast.BlockStmt) []string {
	var out []string
	ast.Inspect(b, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil {
				out = append(out, s)
			}
		}
		return true
	})
	return out
}
