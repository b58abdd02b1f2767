// SPDX-License-Identifier: Apache-2.0

package services

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strconv"

	"postern.dev/postern/internal/edge/call"
)

// errorResponse is what the query protocol answers an error with, and ec2Response
// what EC2 does.
type errorResponse struct {
	XMLName   xml.Name `xml:"ErrorResponse"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

type ec2Response struct {
	XMLName   xml.Name `xml:"Response"`
	Code      string   `xml:"Errors>Error>Code"`
	Message   string   `xml:"Errors>Error>Message"`
	RequestID string   `xml:"RequestID"`
}

// internalFailure is the common word for a service's own fault; EC2 has another.
const internalFailure = "InternalFailure"

// WriteError answers with an error in the protocol that the request has.
func (s *Service) WriteError(w http.ResponseWriter, r *http.Request, e *call.Error, requestID, _ string) {
	denied := e.Code == call.AccessDenied
	if _, ok := r.Header["X-Amz-Target"]; ok && s.target != "" {
		code := e.Code + "Exception"
		if e.Status < 500 && !denied {
			code = "ValidationException"
		}
		if e.Code == call.InternalError {
			code = internalFailure
		}
		body, err := json.Marshal(map[string]string{"__type": code, "message": e.Message})
		write(w, http.StatusBadRequest, e, "application/x-amz-json-1.1", "X-Amzn-Requestid", requestID, body, err)
		return
	}
	code, status := e.Code, e.Status
	if denied {
		code = map[string]string{"ec2": "UnauthorizedOperation", "sns": "AuthorizationError"}[s.Namespace]
		if code == "" {
			code = call.AccessDenied
		}
	}
	if code == call.InternalError && s.Namespace != "ec2" {
		code = internalFailure
	}
	kind := "Sender"
	if status >= 500 {
		kind = "Receiver"
	}
	var doc any = errorResponse{Type: kind, Code: code, Message: e.Message, RequestID: requestID}
	if s.Namespace == "ec2" {
		doc = ec2Response{Code: code, Message: e.Message, RequestID: requestID}
	}
	body, err := xml.Marshal(doc)
	write(w, status, e, "text/xml", "X-Amzn-Requestid", requestID, append([]byte(xml.Header), body...), err)
}

// WriteRegistryError answers with an error as registries do.
func WriteRegistryError(w http.ResponseWriter, r *http.Request, e *call.Error, requestID, _ string) {
	code := "UNSUPPORTED"
	switch {
	case e.Code == call.AccessDenied:
		code = "DENIED"
	case e.Code == call.InternalError:
		code = "UNKNOWN"
	case e.Status >= 500:
		code = "TOOMANYREQUESTS"
	}
	body, err := json.Marshal(map[string]any{"errors": []any{map[string]string{"code": code, "message": e.Message}}})
	if r.Method == http.MethodHead {
		body = nil
	}
	write(w, e.Status, e, "application/json", "X-Amzn-Requestid", requestID, body, err)
}

// write sends an answer; status counts for errors of a caller's.
func write(w http.ResponseWriter, status int, e *call.Error, media, idHeader, requestID string, body []byte, err error) {
	if e.Status >= 500 {
		status = e.Status
	}
	if err != nil {
		body = nil // strings always marshal
	}
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set(idHeader, requestID)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}
