// SPDX-License-Identifier: Apache-2.0

// Package api is the door for AWS's clients: it reads a request, verifies its
// signature, finds the account behind the key, and hands the call to the
// service its credential scope names. Nothing is answered without a valid
// signature, whatever the action.
package api

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/api/ec2"
	"postern.dev/postern/internal/api/elbv2"
	"postern.dev/postern/internal/api/sigv4"
	"postern.dev/postern/internal/api/sts"
	"postern.dev/postern/internal/audit"
	"postern.dev/postern/internal/control"
)

// maxBody bounds a request: a policy of 20,480 characters and a thousand list
// entries fit many times over.
const maxBody = 1 << 20

// Signing names of the services.
const (
	signEC2 = "ec2"
	signELB = "elasticloadbalancing"
	signSTS = "sts"
)

// Server answers AWS's clients.
type Server struct {
	control  *control.Control
	verifier *sigv4.Verifier
	log      *slog.Logger
	// Audit gets a record of every call, answered or refused; nil for none.
	// Set it before the first call.
	Audit func(*audit.Record)
}

// New makes a Server for the region the store was seeded with.
func New(c *control.Control, log *slog.Logger) *Server {
	region := c.Region().Name
	s := &Server{control: c, log: log}
	s.verifier = &sigv4.Verifier{
		Lookup: func(id string) (sigv4.Credential, bool) {
			_, secret, ok := control.CallerFor(c.View(), id)
			return sigv4.Credential{AccessKeyID: id, Secret: secret}, ok
		},
		Services: []string{signEC2, signELB, signSTS},
		Regions:  []string{region},
		// The global STS endpoint signs for us-east-1 wherever the client is.
		ServiceRegions: map[string][]string{signSTS: {region, "us-east-1"}},
		Now:            c.Now,
	}
	return s
}

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := s.begin(w, r)
	defer s.end(c)
	s.serve(c, r)
}

// serve answers one call; what it learns of it goes into the call's record.
func (s *Server) serve(w *call, r *http.Request) {
	start, id := w.start, w.id
	// Clients correct their clocks by this header, so it tells the time that
	// signatures are judged by.
	w.Header().Set("Date", s.control.Now().UTC().Format(http.TimeFormat))
	form, body, err := awsquery.Parse(r, maxBody)
	w.form = form
	_, service, _, _ := sigv4.AccessKeyFromRequest(r)
	w.service = service
	if err != nil {
		fail(w, service, id, parseCode(service, err))
		return
	}
	if service == "" {
		service = serviceOf(form.Version)
		w.service = service
	}
	ident, err := s.verifier.Verify(r, body)
	if err != nil {
		fail(w, service, id, signatureCode(service, err))
		s.log.Warn("request refused", "request", id, "action", form.Action, "from", r.RemoteAddr, "reason", err)
		return
	}
	caller, _, ok := control.CallerFor(s.control.View(), ident.AccessKeyID)
	if !ok {
		fail(w, service, id, signatureCode(service, &sigv4.Error{Kind: sigv4.UnknownKey}))
		return
	}
	w.ident, w.caller = ident, &caller
	defer func() {
		s.log.Info("call", "request", id, "account", caller.Name, "service", service, "action", form.Action,
			"from", r.RemoteAddr, "took", time.Since(start).Round(time.Microsecond).String())
	}()
	if form.Action == "" {
		fail(w, service, id, code{"MissingAction", http.StatusBadRequest, "The request is missing an action or a required parameter"})
		return
	}
	if want := versionOf(service); form.Version != "" && form.Version != want {
		fail(w, service, id, code{"NoSuchVersion", http.StatusBadRequest, fmt.Sprintf("The requested version (%.32s) is not valid; this service is version %s", form.Version, want)})
		return
	}
	switch service {
	case signEC2:
		ec2.Serve(w, &ec2.Call{Context: r.Context(), Control: s.control, Caller: caller}, form, id)
	case signELB:
		elbv2.Serve(w, &elbv2.Call{Context: r.Context(), Control: s.control, Caller: caller}, form, id)
	case signSTS:
		sts.Serve(w, caller, form, id)
	}
}

// code is an error as a client sees it.
type code struct {
	name    string
	status  int
	message string
}

func fail(w http.ResponseWriter, service, id string, c code) {
	switch service {
	case signELB:
		awsquery.WriteQueryError(w, awsquery.ServiceELBv2, id, c.status, c.name, c.message)
	case signSTS:
		awsquery.WriteQueryError(w, awsquery.ServiceSTS, id, c.status, c.name, c.message)
	default:
		awsquery.WriteEC2Error(w, id, c.status, c.name, c.message)
	}
}

// internalError says nothing of what went wrong: that is in the log.
func internalError(service string) code {
	name := "InternalError"
	if service == signELB || service == signSTS {
		name = "InternalFailure"
	}
	return code{name, http.StatusInternalServerError, "An internal error has occurred"}
}

func parseCode(service string, err error) code {
	d := awsquery.EC2
	if service == signELB || service == signSTS {
		d = awsquery.Query
	}
	var e *awsquery.Error
	if !errors.As(err, &e) {
		return internalError(service)
	}
	name, status := e.Code(d)
	return code{name, status, e.Message()}
}

// signatureCode is the answer to a request whose signature was not accepted;
// the services differ in their codes.
func signatureCode(service string, err error) code {
	var e *sigv4.Error
	if !errors.As(err, &e) {
		return internalError(service)
	}
	isEC2 := service != signELB && service != signSTS
	const notValidated = "AWS was not able to validate the provided access credentials"
	switch e.Kind {
	case sigv4.MissingAuth:
		return code{"MissingAuthenticationToken", http.StatusForbidden, "Request is missing Authentication Token"}
	case sigv4.Malformed:
		return code{"IncompleteSignature", http.StatusBadRequest, e.Reason}
	case sigv4.Skew:
		// Codes that clients take as a reason to look at the Date header and to
		// sign again with its time; RequestExpired is not one for all of them.
		if isEC2 {
			return code{"AuthFailure", http.StatusUnauthorized, notValidated + ": " + e.Reason}
		}
		return code{"SignatureDoesNotMatch", http.StatusForbidden, e.Reason}
	case sigv4.Expired:
		return code{"RequestExpired", http.StatusBadRequest, "Request has expired. " + e.Reason}
	case sigv4.ExpiredToken:
		if isEC2 {
			return code{"RequestExpired", http.StatusBadRequest, "Request has expired."}
		}
		return code{"ExpiredToken", http.StatusForbidden, "The security token included in the request is expired"}
	case sigv4.UnknownKey, sigv4.BadToken:
		if isEC2 {
			return code{"AuthFailure", http.StatusUnauthorized, notValidated}
		}
		return code{"InvalidClientTokenId", http.StatusForbidden, "The security token included in the request is invalid."}
	}
	if isEC2 && e.Kind != sigv4.BadScope {
		return code{"AuthFailure", http.StatusUnauthorized, notValidated}
	}
	return code{"SignatureDoesNotMatch", http.StatusForbidden, e.Reason}
}

func versionOf(service string) string {
	switch service {
	case signELB:
		return awsquery.ServiceELBv2.Version
	case signSTS:
		return awsquery.ServiceSTS.Version
	}
	return awsquery.ServiceEC2.Version
}

// serviceOf guesses the service of a request without a readable scope, for
// the form of its error.
func serviceOf(version string) string {
	switch version {
	case awsquery.ServiceELBv2.Version:
		return signELB
	case awsquery.ServiceSTS.Version:
		return signSTS
	}
	return signEC2
}

// newRequestID makes a random UUID.
func newRequestID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
