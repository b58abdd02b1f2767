// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
)

// Bounds of a DeleteObjects body: S3's number of keys, and room for all of them.
const (
	maxBulkBody = 2 << 20
	maxBulkKeys = 1000
)

// readBulk reads a DeleteObjects body and says what it deletes. The body is
// returned to be sent on as it is.
func readBulk(r *http.Request, bucket string) (body []byte, checks []s3Check, _ *s3Error) {
	if strings.Contains(strings.ToLower(r.Header.Get("Content-Encoding")), "aws-chunked") ||
		strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return nil, nil, &s3Error{http.StatusNotImplemented, "NotImplemented", "DeleteObjects takes a plain body, not aws-chunked."}
	}
	if ce := r.Header.Get("Content-Encoding"); ce != "" && !strings.EqualFold(ce, "identity") {
		return nil, nil, &s3Error{http.StatusNotImplemented, "NotImplemented", "DeleteObjects takes a plain body, not a compressed one."}
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBulkBody))
	if err != nil {
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) {
			return nil, nil, &s3Error{http.StatusBadRequest, "MaxMessageLengthExceeded", "Your request was too big."}
		}
		return nil, nil, &s3Error{http.StatusBadRequest, "IncompleteBody", "The request body could not be read."}
	}
	checks, refused := parseBulk(body, bucket)
	return body, checks, refused
}

// parseBulk reads the document strictly: an element it does not know might be a
// key to somebody else.
func parseBulk(body []byte, bucket string) ([]s3Check, *s3Error) {
	var (
		out    []s3Check
		object *s3Check
		hasKey bool
		stack  []string
		text   strings.Builder
		leaf   = map[string]bool{"Key": true, "VersionId": true, "ETag": true, "LastModifiedTime": true, "Size": true}
		seen   map[string]bool
		ended  bool
	)
	d := xml.NewDecoder(bytes.NewReader(body))
	for {
		token, err := d.RawToken()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, errS3XML
		}
		switch t := token.(type) {
		case xml.StartElement:
			name := t.Name.Local
			if t.Name.Space != "" || ended {
				return nil, errS3XML
			}
			switch {
			case len(stack) == 0 && name == "Delete":
			case len(stack) == 1 && name == "Quiet":
			case len(stack) == 1 && name == "Object":
				if len(out) == maxBulkKeys {
					return nil, errS3XML
				}
				object, hasKey, seen = &s3Check{Action: "s3:DeleteObject", Bucket: bucket}, false, map[string]bool{}
			case len(stack) == 2 && stack[1] == "Object" && leaf[name] && !seen[name]:
				seen[name] = true
			default:
				return nil, errS3XML
			}
			stack = append(stack, name)
			text.Reset()
		case xml.EndElement:
			if len(stack) == 0 || t.Name.Space != "" || stack[len(stack)-1] != t.Name.Local {
				return nil, errS3XML
			}
			stack = stack[:len(stack)-1]
			switch {
			case len(stack) == 0:
				ended = true
			case len(stack) == 1 && t.Name.Local == "Object":
				if !hasKey {
					return nil, errS3XML
				}
				if e := checkName(bucket, object.Key); e != nil {
					return nil, e
				}
				out = append(out, *object)
			case len(stack) == 2 && t.Name.Local == "Key":
				object.Key, hasKey = text.String(), text.Len() > 0
			case len(stack) == 2 && t.Name.Local == "VersionId" && text.Len() > 0:
				object.VersionID, object.Action = text.String(), "s3:DeleteObjectVersion"
			}
			text.Reset()
		case xml.CharData:
			inLeaf := len(stack) == 3 || len(stack) == 2 && stack[1] == "Quiet"
			if !inLeaf && len(bytes.TrimSpace(t)) > 0 {
				return nil, errS3XML
			}
			text.Write(t)
		case xml.Directive:
			return nil, errS3XML // no document types, no entities
		case xml.ProcInst:
			if t.Target != "xml" || len(stack) > 0 || ended {
				return nil, errS3XML
			}
			if enc := strings.ToLower(string(t.Inst)); strings.Contains(enc, "encoding") && !strings.Contains(enc, "utf-8") {
				return nil, errS3XML
			}
		case xml.Comment:
			// A comment within a key would end it for some readers.
			if len(stack) > 1 {
				return nil, errS3XML
			}
		}
	}
	if !ended || len(out) == 0 {
		return nil, errS3XML
	}
	return out, nil
}
