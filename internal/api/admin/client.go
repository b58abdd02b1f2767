// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"

	"postern.dev/postern/internal/vpc"
)

// maxAnswer bounds what a client reads.
const maxAnswer = 64 << 20

// Errors of a call that reached no server.
var (
	// ErrNotRunning: nothing listens on the socket.
	ErrNotRunning = errors.New("no server is running")
	// ErrNotAllowed: the socket is another user's.
	ErrNotAllowed = errors.New("the server's socket belongs to another user")
)

// Client asks a server on this machine. An error a server answers with is a
// *vpc.Error, catalogue.Problems, or a plain error for a fault of the server.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient makes a client of the server that listens on a unix socket.
func NewClient(socket string) *Client {
	var d net.Dialer
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Close lets idle connections go.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var v T
	err := c.call(ctx, http.MethodGet, path, nil, &v)
	return v, err
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://postern"+path, body)
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return c.unreached(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if len(b) > maxAnswer {
		return fmt.Errorf("the server's answer to %s is larger than %d MB", path, maxAnswer>>20)
	}
	if res.StatusCode != http.StatusOK {
		var f failure
		if json.Unmarshal(b, &f) != nil || f.Error == "" {
			return fmt.Errorf("the server answered %s to %s", res.Status, path)
		}
		if len(f.Problems) > 0 {
			return f.Problems
		}
		if f.Kind == "" {
			return fmt.Errorf("the server failed: %s", f.Error)
		}
		return &vpc.Error{Kind: f.Kind, Message: f.Error}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("the server's answer to %s is not understood (another version?): %w", path, err)
	}
	return nil
}

// unreached names the usual reasons why no server could be asked.
func (c *Client) unreached(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w (nothing listens on %s)", ErrNotRunning, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w (%s)", ErrNotAllowed, c.socket)
	}
	return fmt.Errorf("ask the server on %s: %w", c.socket, err)
}

// Info describes the installation.
func (c *Client) Info(ctx context.Context) (Info, error) { return get[Info](ctx, c, "/v1/info") }

// Accounts lists every account, without secrets.
func (c *Client) Accounts(ctx context.Context) ([]Account, error) {
	return get[[]Account](ctx, c, "/v1/accounts")
}

// Account finds an account by name or id, with its secrets.
func (c *Client) Account(ctx context.Context, name string) (Account, error) {
	if name == "" || name == "." || name == ".." { // would be another path
		return Account{}, vpc.Errorf(vpc.NotFound, string(vpc.KindAccount), name, "account %q does not exist", name)
	}
	return get[Account](ctx, c, "/v1/accounts/"+url.PathEscape(name))
}

// User finds a user of an account, with the secrets of the keys that are on.
func (c *Client) User(ctx context.Context, account, name string) (User, error) {
	for _, s := range []string{account, name} {
		if s == "" || s == "." || s == ".." { // would be another path
			return User{}, vpc.Errorf(vpc.NotFound, string(vpc.KindUser), name, "account %q has no user %q", account, name)
		}
	}
	return get[User](ctx, c, "/v1/accounts/"+url.PathEscape(account)+"/users/"+url.PathEscape(name))
}

// CreateAccount makes an account and answers it with its secrets.
func (c *Client) CreateAccount(ctx context.Context, in NewAccount) (Account, error) {
	var a Account
	err := c.call(ctx, http.MethodPost, "/v1/accounts", in, &a)
	return a, err
}

// Domains lists the domains that are vouched for.
func (c *Client) Domains(ctx context.Context) ([]Domain, error) {
	return get[[]Domain](ctx, c, "/v1/domains")
}

// VerifyDomain vouches for a domain.
func (c *Client) VerifyDomain(ctx context.Context, d Domain) error {
	return c.call(ctx, http.MethodPost, "/v1/domains", d, nil)
}

// UnverifyDomain takes that back.
func (c *Client) UnverifyDomain(ctx context.Context, d Domain) error {
	q := url.Values{"account": {d.Account}, "domain": {d.Domain}}
	return c.call(ctx, http.MethodDelete, "/v1/domains?"+q.Encode(), nil, nil)
}

// Workload finds an instance or an interface of any account.
func (c *Client) Workload(ctx context.Context, id string) (Workload, error) {
	if id == "" || id == "." || id == ".." {
		return Workload{}, vpc.Errorf(vpc.Malformed, string(vpc.KindInstance), id, "%q is neither an instance id nor an interface id", id)
	}
	return get[Workload](ctx, c, "/v1/workloads/"+url.PathEscape(id))
}

// Run starts an instance and returns when it runs.
func (c *Client) Run(ctx context.Context, in NewRun) (Workload, error) {
	var w Workload
	err := c.call(ctx, http.MethodPost, "/v1/run", in, &w)
	return w, err
}

// Terminate begins the end of an instance.
func (c *Client) Terminate(ctx context.Context, id vpc.InstanceID) error {
	return c.call(ctx, http.MethodPost, "/v1/terminate", Target{Instance: id}, nil)
}

// Attach puts something that exists on the server's host behind an interface.
func (c *Client) Attach(ctx context.Context, a Attachment) error {
	return c.call(ctx, http.MethodPost, "/v1/attach", a, nil)
}

// Detach undoes Attach.
func (c *Client) Detach(ctx context.Context, id vpc.InterfaceID) error {
	return c.call(ctx, http.MethodPost, "/v1/detach", Target{Interface: id}, nil)
}

// Hosts lists the machines that run workloads.
func (c *Client) Hosts(ctx context.Context) ([]Host, error) { return get[[]Host](ctx, c, "/v1/hosts") }

// AddHost registers a machine.
func (c *Client) AddHost(ctx context.Context, in NewHost) (Joining, error) {
	var j Joining
	err := c.call(ctx, http.MethodPost, "/v1/hosts", in, &j)
	return j, err
}

// NewHostToken lets a machine become a host that was registered before.
func (c *Client) NewHostToken(ctx context.Context, id vpc.HostID) (Joining, error) {
	var j Joining
	if !vpc.ValidHostID(id) { // could be another path
		return j, noHost(id)
	}
	err := c.call(ctx, http.MethodPost, "/v1/hosts/"+string(id)+"/token", nil, &j)
	return j, err
}

// RemoveHost forgets a machine; gone says that it will not come back.
func (c *Client) RemoveHost(ctx context.Context, id vpc.HostID, gone bool) error {
	if !vpc.ValidHostID(id) {
		return noHost(id)
	}
	path := "/v1/hosts/" + string(id)
	if gone {
		path += "?gone=true"
	}
	return c.call(ctx, http.MethodDelete, path, nil, nil)
}

func noHost(id vpc.HostID) error {
	return vpc.Errorf(vpc.NotFound, string(vpc.KindHost), string(id), "host %q does not exist; `postern host list` shows those that do", id)
}

// Status tells how the installation is doing.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status")
}

// Notifications lists the connection notifications of every account.
func (c *Client) Notifications(ctx context.Context) ([]Notification, error) {
	return get[[]Notification](ctx, c, "/v1/notifications")
}

// Names translates the datapath's numbers.
func (c *Client) Names(ctx context.Context) (Names, error) { return get[Names](ctx, c, "/v1/names") }

// Candidate is the candidate policy of an endpoint.
func (c *Client) Candidate(ctx context.Context, id vpc.EndpointID) (Candidate, error) {
	path, err := candidatePath(id)
	if err != nil {
		return Candidate{}, err
	}
	return get[Candidate](ctx, c, path)
}

// SetCandidate gives an endpoint a candidate policy.
func (c *Client) SetCandidate(ctx context.Context, id vpc.EndpointID, policy string) (Candidate, error) {
	var out Candidate
	path, err := candidatePath(id)
	if err != nil {
		return out, err
	}
	err = c.call(ctx, http.MethodPut, path, NewCandidate{Policy: policy}, &out)
	return out, err
}

// RemoveCandidate takes it away.
func (c *Client) RemoveCandidate(ctx context.Context, id vpc.EndpointID) error {
	path, err := candidatePath(id)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodDelete, path, nil, nil)
}

func candidatePath(id vpc.EndpointID) (string, error) {
	if id == "" || id == "." || id == ".." { // would be another path
		return "", noEndpoint(id)
	}
	return "/v1/endpoints/" + url.PathEscape(string(id)) + "/candidate", nil
}

// Services lists the catalogue.
func (c *Client) Services(ctx context.Context) ([]Service, error) {
	return get[[]Service](ctx, c, "/v1/services")
}

// AddServices adds entries to the catalogue, all or none.
func (c *Client) AddServices(ctx context.Context, in NewServices) ([]Service, error) {
	var out []Service
	err := c.call(ctx, http.MethodPost, "/v1/services", in, &out)
	return out, err
}

// RemoveService takes one out of the catalogue that AddServices added.
func (c *Client) RemoveService(ctx context.Context, name string) error {
	if name == "" || name == "." || name == ".." { // would be another path
		return vpc.Errorf(vpc.NotFound, string(vpc.KindCatalogue), name, "service %q does not exist", name)
	}
	return c.call(ctx, http.MethodDelete, "/v1/services/"+url.PathEscape(name), nil, nil)
}
