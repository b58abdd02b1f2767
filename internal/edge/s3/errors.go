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
	errXML        = call.Refuse("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	errTags       = call.Refuse("InvalidArgument", "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
	errForm       = call.Refuse("MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")
)

// xmlError is the document S3 answers an error with.
type xmlError struct {
	XMLName   xml.Name `xml:"Error"`
	Code      string
	Message   string
	Resource  string `xml:",omitempty"`
	RequestID string `xml:"RequestId"`
	HostID    string `xml:"HostId"`
}

// WriteError answers with an error as S3 does; a HEAD request gets the status and
// headers only.
func WriteError(w http.ResponseWriter, r *http.Request, e *call.Error, requestID, hostID string) {
	body, err := xml.Marshal(xmlError{Code: e.Code, Message: e.Message, Resource: r.URL.Path, RequestID: requestID, HostID: hostID})
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
