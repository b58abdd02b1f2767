// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"

	"postern.dev/postern/internal/edge/call"
)

// Bounds of bodies that are read: S3's number of keys in DeleteObjects, and room
// for all of them.
const (
	maxSmallBody = 64 << 10
	maxBulkBody  = 2 << 20
	maxBulkKeys  = 1000
	maxDepth     = 8
	maxElements  = 2 + maxBulkKeys*6
)

// element is an XML element: either text or elements.
type element struct {
	name     string
	text     []byte
	children []*element
}

// only returns the children by name, and an error unless each of them is one of
// names and appears once.
func (e *element) only(names ...string) (map[string]*element, *call.Error) {
	out := map[string]*element{}
	for _, c := range e.children {
		known := false
		for _, n := range names {
			known = known || n == c.name
		}
		if !known || out[c.name] != nil {
			return nil, errXML
		}
		out[c.name] = c
	}
	return out, nil
}

// leaf is the text of a child, "" if there is none of that name.
func leaf(fields map[string]*element, name string) (string, *call.Error) {
	e := fields[name]
	if e == nil {
		return "", nil
	}
	if len(e.children) > 0 || !call.Text(string(e.text)) {
		return "", errXML
	}
	return string(e.text), nil
}

// parseXML reads a document strictly: what it would pass over might be a key to
// somebody else. Mixed content, prefixes, document types, entities of one's own
// and comments inside are refused.
func parseXML(body []byte, root string) (*element, *call.Error) {
	var (
		stack    []*element
		top      *element
		elements int
	)
	d := xml.NewDecoder(bytes.NewReader(body))
	for {
		token, err := d.RawToken()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, errXML
		}
		switch t := token.(type) {
		case xml.StartElement:
			e := &element{name: t.Name.Local}
			switch {
			case t.Name.Space != "" || len(stack) == maxDepth || elements == maxElements:
				return nil, errXML
			case len(stack) > 0:
				parent := stack[len(stack)-1]
				if len(bytes.TrimSpace(parent.text)) > 0 {
					return nil, errXML
				}
				parent.children = append(parent.children, e)
			case top != nil || e.name != root:
				return nil, errXML
			default:
				top = e
			}
			elements++
			stack = append(stack, e)
		case xml.EndElement:
			if len(stack) == 0 || t.Name.Space != "" || stack[len(stack)-1].name != t.Name.Local {
				return nil, errXML
			}
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if len(stack) == 0 {
				if len(bytes.TrimSpace(t)) > 0 {
					return nil, errXML
				}
				continue
			}
			e := stack[len(stack)-1]
			if len(e.children) == 0 {
				e.text = append(e.text, t...)
			} else if len(bytes.TrimSpace(t)) > 0 {
				return nil, errXML
			}
		case xml.ProcInst:
			if t.Target != "xml" || top != nil {
				return nil, errXML
			}
			if enc := strings.ToLower(string(t.Inst)); strings.Contains(enc, "encoding") && !strings.Contains(enc, "utf-8") {
				return nil, errXML
			}
		case xml.Comment:
			if len(stack) > 0 {
				return nil, errXML
			}
		default: // xml.Directive
			return nil, errXML
		}
	}
	if top == nil || len(stack) > 0 {
		return nil, errXML
	}
	return top, nil
}

// readBulk reads DeleteObjects and says what it deletes.
func (c *s3call) readBulk(body []byte) *call.Error {
	root, err := parseXML(body, "Delete")
	if err != nil {
		return err
	}
	var checks []call.Check
	extra := c.Checks[1:] // BypassGovernanceRetention: for each object
	quiet := false
	for _, o := range root.children {
		if o.name == "Quiet" && !quiet && len(o.children) == 0 {
			quiet = true
			continue
		}
		if o.name != "Object" || len(checks) == maxBulkKeys*(1+len(extra)) {
			return errXML
		}
		fields, err := o.only("Key", "VersionId", "ETag", "LastModifiedTime", "Size")
		if err != nil {
			return err
		}
		key, err := leaf(fields, "Key")
		if err != nil {
			return err
		}
		version, err := leaf(fields, "VersionId")
		if err != nil {
			return err
		}
		if key == "" {
			return errXML
		}
		if err := checkName(c.Bucket, key); err != nil {
			return err
		}
		action := "s3:DeleteObject"
		if version != "" {
			action = "s3:DeleteObjectVersion"
		}
		checks = append(checks, check(action, c.Bucket, key, version))
		for _, x := range extra {
			checks = append(checks, check(x.Action, c.Bucket, key, version))
		}
	}
	if len(checks) == 0 {
		return nil // nothing is deleted: the call stays one about the bucket
	}
	c.Checks = checks
	return nil
}

// readLocation reads where CreateBucket is to make the bucket, and its tags.
func (c *s3call) readLocation(body []byte) *call.Error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	root, err := parseXML(body, "CreateBucketConfiguration")
	if err != nil {
		return err
	}
	fields, err := root.only("LocationConstraint", "Location", "Bucket", "Tags")
	if err != nil {
		return err
	}
	where, err := leaf(fields, "LocationConstraint")
	if err != nil {
		return err
	}
	c.Set("s3:LocationConstraint", where)
	if fields["Tags"] == nil {
		return nil
	}
	c.Checks = append(c.Checks, check("s3:TagResource", c.Bucket, "", ""))
	return eachTag(fields["Tags"], func(key, value string) {
		c.Context["aws:RequestTag/"+key] = []string{value}
		c.Context["aws:TagKeys"] = append(c.Context["aws:TagKeys"], key)
	})
}

// readTagging reads the tags that PutObjectTagging sets.
func (c *s3call) readTagging(body []byte) *call.Error {
	root, err := parseXML(body, "Tagging")
	if err != nil {
		return err
	}
	fields, err := root.only("TagSet")
	if err != nil || fields["TagSet"] == nil {
		return errXML
	}
	return eachTag(fields["TagSet"], func(key, value string) { c.addTag(key, value) })
}

func eachTag(set *element, f func(key, value string)) *call.Error {
	seen := map[string]bool{}
	for _, t := range set.children {
		fields, err := t.only("Key", "Value")
		if err != nil || t.name != "Tag" {
			return errXML
		}
		key, err := leaf(fields, "Key")
		if err != nil || key == "" {
			return errXML
		}
		if seen[key] {
			return errTagTwice
		}
		value, err := leaf(fields, "Value")
		if err != nil {
			return err
		}
		seen[key] = true
		f(key, value)
	}
	return nil
}

// readRetention reads the lock that PutObjectRetention sets.
func (c *s3call) readRetention(body []byte) *call.Error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil // removes it
	}
	root, err := parseXML(body, "Retention")
	if err != nil {
		return err
	}
	fields, err := root.only("Mode", "RetainUntilDate")
	if err != nil {
		return err
	}
	mode, err := leaf(fields, "Mode")
	if err != nil {
		return err
	}
	until, err := leaf(fields, "RetainUntilDate")
	if err != nil {
		return err
	}
	c.Set("s3:object-lock-mode", mode)
	c.setRetention(until)
	return nil
}

// readLegalHold reads the state that PutObjectLegalHold sets.
func (c *s3call) readLegalHold(body []byte) *call.Error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil // none: the backend refuses it
	}
	root, err := parseXML(body, "LegalHold")
	if err != nil {
		return err
	}
	fields, err := root.only("Status")
	if err != nil {
		return err
	}
	status, err := leaf(fields, "Status")
	c.Set("s3:object-lock-legal-hold", status)
	return err
}

// readInventory reads which optional fields PutBucketInventoryConfiguration asks
// for.
func (c *s3call) readInventory(body []byte) *call.Error {
	root, err := parseXML(body, "InventoryConfiguration")
	if err != nil {
		return err
	}
	var fields []string
	seen := false
	for _, e := range root.children {
		if e.name != "OptionalFields" {
			continue
		}
		if seen {
			return errXML
		}
		seen = true
		for _, f := range e.children {
			if f.name != "Field" || len(f.children) > 0 {
				return errXML
			}
			fields = append(fields, string(f.text))
		}
	}
	if len(fields) > 0 {
		c.Context["s3:InventoryAccessibleOptionalFields"] = fields
	}
	return nil
}
