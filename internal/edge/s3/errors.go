// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"encoding/xml"
	"net/http"
	"strconv"

	"postern.dev/postern/internal/edge/call"
)

var (
	errKeyTooLong = call.Refuse("KeyTooLongError", "Your key is too long")
	errXML        = call.Refuse("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema.")
	errTags       = call.Refuse("InvalidArgument", "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.").About("x-amz-tagging", "")
	errTagTwice   = call.Refuse("InvalidTag", "Cannot provide multiple Tags with the same key")
	// errKey is what S3 says to a key that leads out of its bucket or names the
	// bucket itself.
	errKey  = call.Refuse("400", "Bad Request")
	errForm = call.Refuse("MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")
)

// xmlError is the document S3 answers an error with.
type xmlError struct {
	XMLName   xml.Name `xml:"Error"`
	Code      string
	Message   string
	Details   []detail
	Resource  string `xml:",omitempty"`
	RequestID string `xml:"RequestId"`
	HostID    string `xml:"HostId"`
}

// detail is an element that only some errors have.
type detail struct {
	XMLName xml.Name
	Value   string `xml:",chardata"`
}

// WriteError answers with an error as S3 does; a HEAD request gets the status and
// headers only.
func WriteError(w http.ResponseWriter, r *http.Request, e *call.Error, requestID, hostID string) {
	document := xmlError{Code: e.Code, Message: e.Message, Resource: r.URL.Path, RequestID: requestID, HostID: hostID}
	for _, d := range e.Details {
		document.Details = append(document.Details, detail{xml.Name{Local: d.Name}, d.Value})
	}
	body, err := xml.Marshal(document)
	if err != nil {
		body = nil // strings always marshal
	}
	body = append([]byte(xml.Header), body...)
	h := w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("X-Amz-Request-Id", requestID)
	h.Set("X-Amz-Id-2", hostID)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.Status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}
