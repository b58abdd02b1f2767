// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"postern.dev/postern/internal/edge/call"
)

// Bounds of a posted form: S3's 20 KB in front of the file, and some room.
const (
	maxFormHead   = 64 << 10
	maxFormFields = 200
	maxBoundary   = 70 // RFC 2046
)

// readForm reads the upload that a browser posts as a form. The key, the signature
// and what else decides are fields in front of the file.
func (c *s3call) readForm() *call.Error {
	media, params, err := mime.ParseMediaType(c.request.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" {
		e := &call.Error{Status: http.StatusPreconditionFailed, Code: "PreconditionFailed", Message: "At least one of the pre-conditions you specified did not hold."}
		return e.With(call.Detail{Name: "Condition", Value: "Bucket POST must be of the enclosure-type multipart/form-data"})
	}
	boundary := params["boundary"]
	if boundary == "" || len(boundary) > maxBoundary || strings.Trim(boundary, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'()+_,-./:=?") != "" {
		return errForm
	}
	// The check is made now, for the record; its key is not known yet.
	c.Checks = []call.Check{check("s3:PutObject", c.Bucket, "", "")}
	c.Body = func(r io.Reader) (io.Reader, *call.Error) {
		if e := call.PlainBody(c.request.Header); e != nil {
			return nil, e
		}
		head := &bytes.Buffer{}
		in := bufio.NewReader(io.TeeReader(io.LimitReader(r, maxFormHead), head))
		fields, filename, e := formFields(in, boundary)
		if e != nil {
			return nil, e
		}
		if e := c.judgeForm(fields, filename); e != nil {
			return nil, e
		}
		// What the buffered reader took beyond the file's header is file already.
		ahead, _ := in.Peek(in.Buffered())
		front := head.Len() - len(ahead)
		file := &formFile{r: io.MultiReader(bytes.NewReader(head.Bytes()[front:]), r), delimiter: []byte("\r\n--" + boundary)}
		// A file may be empty: its end is a delimiter in front of which the line
		// break is that of the header.
		file.seen = 2
		return io.MultiReader(bytes.NewReader(head.Bytes()[:front]), file), nil
	}
	return nil
}

// formFields reads a form up to the first byte of its file. Names are in lower
// case. Everything that parsers disagree about is refused: escapes, encodings,
// names that appear twice.
func formFields(r *bufio.Reader, boundary string) (fields map[string]string, filename string, _ *call.Error) {
	line := func() (string, bool) {
		s, err := r.ReadString('\n')
		text, ok := strings.CutSuffix(s, "\r\n")
		return text, ok && err == nil && call.Text(text)
	}
	if first, ok := line(); !ok || first != "--"+boundary {
		return nil, "", errForm
	}
	fields = map[string]string{}
	for len(fields) < maxFormFields {
		name, file, isFile := "", "", false
		for {
			h, ok := line()
			if !ok {
				return nil, "", errForm
			}
			if h == "" {
				break
			}
			key, value, ok := strings.Cut(h, ":")
			switch {
			case !ok || key == "" || strings.ContainsAny(key, " \t"):
				return nil, "", errForm // a folded line among others
			case strings.EqualFold(key, "Content-Disposition"):
				if name != "" {
					return nil, "", errForm
				}
				if name, file, isFile, ok = disposition(value); !ok {
					return nil, "", errForm
				}
			case strings.EqualFold(key, "Content-Transfer-Encoding"):
				return nil, "", errForm
			}
		}
		name = strings.ToLower(name)
		_, twice := fields[name]
		switch {
		case name == "" || twice || isFile != (name == "file"):
			// A part with a file's name is the file to some, whatever it is called.
			return nil, "", errForm
		case isFile:
			return fields, file, nil
		}
		var value strings.Builder
		lines := 0
		for {
			s, ok := line()
			if !ok || s == "--"+boundary+"--" {
				return nil, "", errForm
			}
			if s == "--"+boundary {
				break
			}
			if strings.Contains(s, "--"+boundary) || strings.Contains(s, "\r") {
				return nil, "", errForm
			}
			if lines > 0 {
				value.WriteString("\r\n")
			}
			value.WriteString(s)
			lines++
		}
		if lines == 0 {
			return nil, "", errForm
		}
		fields[name] = value.String()
	}
	return nil, "", errForm
}

// disposition reads `form-data; name="x"` or `form-data; name="file"; filename="y"`.
// A file without a name is one whose name is "".
func disposition(s string) (name, filename string, isFile, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(s), "form-data;")
	if !ok || strings.ContainsAny(s, "\\\t") {
		return "", "", false, false
	}
	seen := map[string]bool{}
	for rest = strings.TrimSpace(rest); rest != ""; {
		key, after, ok := strings.Cut(rest, `="`)
		if !ok {
			return "", "", false, false
		}
		value, next, ok := strings.Cut(after, `"`)
		if !ok || seen[key] {
			return "", "", false, false
		}
		seen[key] = true
		switch key {
		case "name":
			name = value
		case "filename":
			filename, isFile = value, true
		default: // filename* among them
			return "", "", false, false
		}
		next = strings.TrimSpace(next)
		if rest, ok = strings.CutPrefix(next, ";"); !ok && next != "" {
			return "", "", false, false
		}
		rest = strings.TrimSpace(rest)
	}
	return name, filename, isFile || strings.EqualFold(name, "file"), name != ""
}

// judgeForm fills in the call of a form.
func (c *s3call) judgeForm(fields map[string]string, filename string) *call.Error {
	key := fields["key"]
	if key == "" {
		return call.Refuse("InvalidArgument", "Bucket POST must contain a field named 'key'. If it is specified, please check the order of the fields.")
	}
	if e := checkName(c.Bucket, key); e != nil {
		return e
	}
	if b, ok := fields["bucket"]; ok && b != c.Bucket {
		return call.Refuse("InvalidArgument", "The form names another bucket.")
	}
	c.Key = key
	checks := []call.Check{check("s3:PutObject", c.Bucket, key, "")}
	if strings.Contains(key, "${filename}") {
		// S3 puts the file's name there, without its folders; not every backend does.
		full := filename
		if i := strings.LastIndexByte(filename, '/'); i >= 0 {
			filename = filename[i+1:]
		}
		for _, name := range []string{filename, full} {
			k := strings.ReplaceAll(key, "${filename}", name)
			if e := checkName(c.Bucket, k); e != nil {
				return e
			}
			more := check("s3:PutObject", c.Bucket, k, "")
			checks[0].Also = append(checks[0].Also, append(more.Also, more.Resource)...)
		}
	}
	c.Checks = checks
	add := func(action string) {
		k := checks[0]
		k.Action = action
		c.Checks = append(c.Checks, k)
	}
	_, v2 := fields["awsaccesskeyid"]
	credential, v4 := fields["x-amz-credential"]
	switch {
	case v2 && v4:
		return call.Refuse("InvalidArgument", "The form has two signatures.")
	case v2:
		c.Claim = call.Claim{Auth: call.AuthForm, Version: "AWS", KeyID: fields["awsaccesskeyid"]}
		if !call.ValidKeyID(c.Claim.KeyID) {
			return call.Refuse("InvalidArgument", "The access key of the form is malformed.")
		}
	case v4:
		c.Claim = call.Claim{Auth: call.AuthForm, Version: fields["x-amz-algorithm"], Date: fields["x-amz-date"]}
		if why := c.Claim.Scope(credential, "s3"); why != "" {
			return call.Refuse("InvalidArgument", "%s", why).About("x-amz-credential", call.Cut(credential, 256))
		}
	}
	acl := fields["acl"]
	if acl == "" {
		acl = fields["x-amz-acl"]
	} else if other, ok := fields["x-amz-acl"]; ok && other != acl {
		return call.Refuse("InvalidArgument", "The form names two ACLs.")
	}
	grant := false
	for name := range fields {
		grant = grant || strings.HasPrefix(name, "x-amz-grant-")
	}
	if acl != "" || grant {
		add("s3:PutObjectAcl")
	}
	if fields["x-amz-object-lock-mode"] != "" || fields["x-amz-object-lock-retain-until-date"] != "" {
		add("s3:PutObjectRetention")
	}
	if fields["x-amz-object-lock-legal-hold"] != "" {
		add("s3:PutObjectLegalHold")
	}
	c.fromHeaders(func(name string) string {
		if name == "x-amz-acl" {
			return acl
		}
		if name == "x-amz-content-sha256" || name == "x-amz-copy-source" {
			return ""
		}
		return fields[name]
	})
	c.creation()
	if fields["tagging"] != "" {
		add("s3:PutObjectTagging")
		return c.readTagging([]byte(fields["tagging"]))
	}
	return nil
}

// errAfterFile ends a form whose file is not its last part: what comes after is
// nothing to S3 and a field to others.
var errAfterFile = errors.New("the form goes on after its file")

// closing is what makes a delimiter the last one.
const closing = "--\r\n"

// formFile passes a form's file on and breaks off at a delimiter that is not the
// end of the form.
type formFile struct {
	r         io.Reader
	delimiter []byte // CRLF, two dashes and the boundary
	seen      int    // how many of its bytes have come
	after     int    // how many bytes of closing have come after it
	ended     bool
	err       error
}

func (f *formFile) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.r.Read(p)
	for i, b := range p[:n] {
		if f.ended {
			break // an epilogue, which nobody reads
		}
		if f.seen == len(f.delimiter) {
			if b != closing[f.after] {
				f.err = errAfterFile
				return i, f.err
			}
			f.after++
			f.ended = f.after == len(closing)
			continue
		}
		if b == f.delimiter[f.seen] {
			f.seen++
			continue
		}
		// CR appears once in a delimiter, at its start.
		f.seen = 0
		if b == '\r' {
			f.seen = 1
		}
	}
	if err == io.EOF && f.after < len("--") {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
