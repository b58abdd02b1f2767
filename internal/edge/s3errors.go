// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
)

// s3Error is a refusal in S3's words.
type s3Error struct {
	Status  int
	Code    string
	Message string
}

func (e *s3Error) Error() string { return e.Code + ": " + e.Message }

// refuse is a 400 with S3's code for it.
func refuse(code, format string, args ...any) *s3Error {
	return &s3Error{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

// denied is a request that no policy can allow, since nobody knows what it is.
func denied(format string, args ...any) *s3Error {
	return &s3Error{http.StatusForbidden, "AccessDenied", "Access Denied: " + fmt.Sprintf(format, args...)}
}

var (
	errS3Unavailable = &s3Error{http.StatusServiceUnavailable, "ServiceUnavailable", "Service is unable to handle request."}
	errS3Timeout     = &s3Error{http.StatusBadRequest, "RequestTimeout", "Your socket connection to the server was not read from or written to within the timeout period."}
	errS3URI         = &s3Error{http.StatusBadRequest, "InvalidURI", "Couldn't parse the specified URI."}
	errS3KeyTooLong  = &s3Error{http.StatusBadRequest, "KeyTooLongError", "Your key is too long"}
	errS3XML         = &s3Error{http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema"}
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

// write answers with the error; a HEAD request gets the status and headers only.
// Nothing of the request body was read, so the connection ends with it unless
// the server can skip what is left.
func (e *s3Error) write(w http.ResponseWriter, method, resource, requestID, hostID string) {
	body, err := xml.Marshal(xmlError{Code: e.Code, Message: e.Message, Resource: resource, RequestID: requestID, HostID: hostID})
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
	if method != http.MethodHead {
		w.Write(body)
	}
}
