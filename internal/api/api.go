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
	"net/netip"
	"time"

	"postern.dev/postern/internal/api/actions"
	"postern.dev/postern/internal/api/awsjson"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/api/ec2"
	"postern.dev/postern/internal/api/elbv2"
	"postern.dev/postern/internal/api/iam"
	"postern.dev/postern/internal/api/route53"
	"postern.dev/postern/internal/api/route53resolver"
	"postern.dev/postern/internal/api/sigv4"
	"postern.dev/postern/internal/api/sts"
	"postern.dev/postern/internal/audit"
	"postern.dev/postern/internal/authz"
	"postern.dev/postern/internal/control"
)

// maxBody bounds a request: a policy of 20,480 characters and a thousand list
// entries fit many times over.
const maxBody = 1 << 20

// served are the services that are answered. What belongs to none is answered
// as the first would.
var served = []*actions.Table{&ec2.Actions, &elbv2.Actions, &iam.Actions, &sts.Actions, &route53.Actions, &route53resolver.Actions}

// global is the region that clients of services without regions sign for.
const global = "us-east-1"

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
		Lookup: func(id, token string) (sigv4.Credential, bool) {
			_, cred, ok := control.CallerFor(c.View(), id, token)
			return sigv4.Credential{AccessKeyID: id, Secret: cred.Secret, SessionToken: cred.Token, Expires: cred.Expires}, ok
		},
		Regions: []string{region},
		// IAM and Route 53 have no regions, and the global STS endpoint signs for
		// us-east-1 wherever the client is.
		ServiceRegions: map[string][]string{
			awsquery.ServiceSTS.Name: {region, global}, awsquery.ServiceIAM.Name: {region, global}, awsquery.ServiceRoute53.Name: {region, global},
		},
		Now: c.Now,
	}
	for _, t := range served {
		s.verifier.Services = append(s.verifier.Services, t.Service.Name)
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
	_, service, _, _ := sigv4.AccessKeyFromRequest(r)
	if service == "" && awsjson.Is(r) {
		service = serviceTargeted(awsjson.Target(r))
	}
	w.service = service
	parse := awsquery.Parse
	switch {
	case service == awsquery.ServiceRoute53.Name:
		parse = route53.Parse
	case awsjson.Is(r):
		parse = awsjson.Parse
	}
	form, body, err := parse(r, maxBody)
	w.form = form
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
	caller, _, ok := control.CallerFor(s.control.View(), ident.AccessKeyID, ident.SessionToken)
	if !ok {
		fail(w, service, id, signatureCode(service, &sigv4.Error{Kind: sigv4.UnknownKey}))
		return
	}
	caller.Source = source(r)
	w.ident, w.caller = ident, &caller
	defer func() {
		s.log.Info("call", "request", id, "account", caller.Name, "principal", caller.ARN, "service", service, "action", form.Action,
			"from", r.RemoteAddr, "took", time.Since(start).Round(time.Microsecond).String())
	}()
	table := tableOf(service)
	named := table.Service
	if json := named.Dialect == awsquery.JSON; json != awsjson.Is(r) || json && (awsjson.Target(r) != named.Namespace || form.Action == "") {
		fail(w, service, id, otherProtocol(service))
		return
	}
	if form.Action == "" {
		fail(w, service, id, code{"MissingAction", http.StatusBadRequest, "The request is missing an action or a required parameter"})
		return
	}
	if want := named.Version; form.Version != "" && form.Version != want {
		fail(w, service, id, code{"NoSuchVersion", http.StatusBadRequest, fmt.Sprintf("The requested version (%.32s) is not valid; this service is version %s", form.Version, want)})
		return
	}
	if service == awsquery.ServiceIAM.Name && caller.Session != nil && caller.Role == "" {
		// AWS wants MFA for this, and says it so.
		fail(w, service, id, signatureCode(service, &sigv4.Error{Kind: sigv4.BadToken}))
		return
	}
	table.Serve(w, &actions.Call{Context: r.Context(), Control: s.control, Caller: caller}, form, id)
}

// source is how a request came. The address is that of the connection: a header
// that names another is the client's to choose.
func source(r *http.Request) authz.Source {
	out := authz.Source{UserAgent: r.UserAgent(), TLS: r.TLS != nil}
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		out.IP = a.Addr().Unmap().WithZone("")
	}
	return out
}

// code is an error as a client sees it.
type code struct {
	name    string
	status  int
	message string
}

func fail(w http.ResponseWriter, service, id string, c code) {
	_ = actions.WriteError(w, serviceNamed(service), id, c.status, c.name, c.message)
}

// tableOf finds the actions of a service by its signing name.
func tableOf(name string) *actions.Table {
	for _, t := range served {
		if t.Service.Name == name {
			return t
		}
	}
	return served[0]
}

// serviceNamed finds a service by the same.
func serviceNamed(name string) awsquery.Service { return tableOf(name).Service }

// internalError says nothing of what went wrong: that is in the log.
func internalError(service string) code {
	name := "InternalFailure"
	if serviceNamed(service).Dialect == awsquery.EC2 {
		name = "InternalError"
	}
	return code{name, http.StatusInternalServerError, "An internal error has occurred"}
}

func parseCode(service string, err error) code {
	var e *awsquery.Error
	if !errors.As(err, &e) {
		return internalError(service)
	}
	name, status := e.Code(serviceNamed(service).Dialect)
	return code{name, status, e.Message()}
}

// signatureCode is the answer to a request whose signature was not accepted;
// the services differ in their codes.
func signatureCode(service string, err error) code {
	var e *sigv4.Error
	if !errors.As(err, &e) {
		return internalError(service)
	}
	if serviceNamed(service).Dialect == awsquery.JSON {
		return signatureCodeJSON(e)
	}
	isEC2 := serviceNamed(service).Dialect == awsquery.EC2
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

// signatureCodeJSON is signatureCode for services of the JSON protocol.
func signatureCodeJSON(e *sigv4.Error) code {
	switch e.Kind {
	case sigv4.MissingAuth:
		return code{"MissingAuthenticationTokenException", http.StatusBadRequest, "Missing Authentication Token"}
	case sigv4.Malformed:
		return code{"IncompleteSignatureException", http.StatusBadRequest, e.Reason}
	case sigv4.Expired, sigv4.ExpiredToken:
		return code{"ExpiredTokenException", http.StatusBadRequest, "The security token included in the request is expired"}
	case sigv4.UnknownKey, sigv4.BadToken:
		return code{"UnrecognizedClientException", http.StatusBadRequest, "The security token included in the request is invalid."}
	}
	// A clock that is off is this too, and clients know it.
	return code{"InvalidSignatureException", http.StatusBadRequest, e.Reason}
}

// serviceOf guesses the service of a request without a readable scope, for
// the form of its error.
func serviceOf(version string) string {
	for _, t := range served {
		if t.Service.Version == version {
			return t.Service.Name
		}
	}
	return served[0].Service.Name
}

// serviceTargeted is the same of a request of the JSON protocol.
func serviceTargeted(target string) string {
	for _, t := range served {
		if s := t.Service; s.Dialect == awsquery.JSON && s.Namespace == target {
			return s.Name
		}
	}
	return served[0].Service.Name
}

// otherProtocol is the answer to a request in a protocol that is not its service's.
func otherProtocol(service string) code {
	if serviceNamed(service).Dialect == awsquery.JSON {
		return code{"UnknownOperationException", http.StatusBadRequest, "The request names no operation of this service in its X-Amz-Target"}
	}
	return code{"InvalidAction", http.StatusBadRequest, "This service takes its requests as a form, not as JSON"}
}

// newRequestID makes a random UUID.
func newRequestID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
