// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	awselb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"

	"postern.dev/postern/internal/api"
	"postern.dev/postern/internal/api/apitest"
	"postern.dev/postern/internal/audit"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// installation is a whole API on a real socket, with accounts that have keys.
type installation struct {
	t     *testing.T
	c     *control.Control
	clock *controltest.Clock
	url   string
	log   *buffer
	// secrets are all that were ever given out.
	secrets []string
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// identity is who a client signs as.
type identity struct{ id, secret, token string }

// The root keys of the two accounts.
var (
	consumerRoot = identity{id: "AKIACONSUMER00000001", secret: "consumer-secret-00000001"}
	providerRoot = identity{id: "AKIAPROVIDER00000001", secret: "provider-secret-00000001"}
)

func newInstallation(t *testing.T) *installation {
	t.Helper()
	c, clock := controltest.New(t)
	clock.Advance(time.Since(clock.Now()).Truncate(time.Second)) // the SDK signs with its own clock
	in := &installation{t: t, c: c, clock: clock, log: &buffer{}, secrets: []string{consumerRoot.secret, providerRoot.secret}}
	c.Log = slog.New(slog.NewJSONHandler(in.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	_, err := c.Store.Update(t.Context(), func(tx *store.Tx) error {
		for account, key := range map[vpc.AccountID]identity{controltest.Consumer.Account: consumerRoot, controltest.Provider.Account: providerRoot} {
			a, _ := vpc.Get[vpc.Account](tx, account)
			a = vpc.Edit(a)
			a.Keys = []vpc.AccessKey{{ID: key.id, Secret: key.secret}}
			tx.Put(a)
		}
		tx.Put(&vpc.CatalogueService{
			Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", ID: "vpce-svc-0000000000000005a",
			Types: []vpc.EndpointType{vpc.GatewayEndpoint}, PrefixList: "pl-0000000000000000a", Protocol: "s3",
		})
		tx.Put(&vpc.CatalogueService{
			Name: "dynamodb", ServiceName: "com.amazonaws.us-east-1.dynamodb", ID: "vpce-svc-0000000000000005b",
			Types: []vpc.EndpointType{vpc.GatewayEndpoint}, PrefixList: "pl-0000000000000000b", Protocol: "dynamodb",
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	door := api.New(c, c.Log)
	door.Audit = func(r *audit.Record) { c.Log.Info("audit", "record", r) } // what is kept of calls holds no secret either
	srv := httptest.NewServer(door)
	t.Cleanup(srv.Close)
	in.url = srv.URL
	return in
}

func (id identity) provider() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(id.id, id.secret, id.token)
}

func (in *installation) ec2(id identity) *awsec2.Client {
	return awsec2.New(awsec2.Options{Region: "us-east-1", HTTPClient: apitest.Client(), BaseEndpoint: &in.url, Credentials: id.provider(), RetryMaxAttempts: 1})
}

func (in *installation) elb(id identity) *awselb.Client {
	return awselb.New(awselb.Options{Region: "us-east-1", HTTPClient: apitest.Client(), BaseEndpoint: &in.url, Credentials: id.provider(), RetryMaxAttempts: 1})
}

func (in *installation) iam(id identity) *awsiam.Client {
	return awsiam.New(awsiam.Options{Region: "us-east-1", HTTPClient: apitest.Client(), BaseEndpoint: &in.url, Credentials: id.provider(), RetryMaxAttempts: 1})
}

func (in *installation) sts(id identity) *awssts.Client {
	return awssts.New(awssts.Options{Region: "us-east-1", HTTPClient: apitest.Client(), BaseEndpoint: &in.url, Credentials: id.provider(), RetryMaxAttempts: 1})
}

// user makes a user of the consumer, with a key and, unless it is "", an
// inline policy called "p".
func (in *installation) user(name, doc string) identity {
	in.t.Helper()
	root := in.iam(consumerRoot)
	if _, err := root.CreateUser(in.t.Context(), &awsiam.CreateUserInput{UserName: &name}); err != nil {
		in.t.Fatal(err)
	}
	in.allow(name, doc)
	out, err := root.CreateAccessKey(in.t.Context(), &awsiam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		in.t.Fatal(err)
	}
	in.secrets = append(in.secrets, *out.AccessKey.SecretAccessKey)
	return identity{id: *out.AccessKey.AccessKeyId, secret: *out.AccessKey.SecretAccessKey}
}

// allow replaces the inline policy of a user; "" removes nothing.
func (in *installation) allow(user, doc string) {
	in.t.Helper()
	if doc == "" {
		return
	}
	_, err := in.iam(consumerRoot).PutUserPolicy(in.t.Context(), &awsiam.PutUserPolicyInput{UserName: &user, PolicyName: aws.String("p"), PolicyDocument: &doc})
	if err != nil {
		in.t.Fatal(err)
	}
}

// role makes a role of an account with a trust policy and an inline policy.
func (in *installation) role(owner identity, name, trust, doc string) string {
	in.t.Helper()
	root := in.iam(owner)
	out, err := root.CreateRole(in.t.Context(), &awsiam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trust})
	if err != nil {
		in.t.Fatal(err)
	}
	if doc != "" {
		if _, err := root.PutRolePolicy(in.t.Context(), &awsiam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String("p"), PolicyDocument: &doc}); err != nil {
			in.t.Fatal(err)
		}
	}
	return *out.Role.Arn
}

func (in *installation) session(c *ststypes.Credentials) identity {
	in.secrets = append(in.secrets, *c.SecretAccessKey, *c.SessionToken)
	return identity{*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken}
}

// assume is a session that must be granted.
func (in *installation) assume(who identity, role, name string, change ...func(*awssts.AssumeRoleInput)) identity {
	in.t.Helper()
	req := &awssts.AssumeRoleInput{RoleArn: &role, RoleSessionName: &name}
	for _, f := range change {
		f(req)
	}
	out, err := in.sts(who).AssumeRole(in.t.Context(), req)
	if err != nil {
		in.t.Fatal(err)
	}
	return in.session(out.Credentials)
}

// raw sends a call signed at a time of the test's clock and answers status and
// body. mangle may change the request after it was signed.
func (in *installation) raw(id identity, service, body string, presign bool, mangle func(*http.Request)) (int, string) {
	in.t.Helper()
	ctx := context.Background()
	creds := aws.Credentials{AccessKeyID: id.id, SecretAccessKey: id.secret, SessionToken: id.token}
	var req *http.Request
	var err error
	if presign {
		req, err = http.NewRequestWithContext(ctx, http.MethodGet, in.url+"/?"+body+"&X-Amz-Expires=60", nil)
	} else {
		req, err = http.NewRequestWithContext(ctx, http.MethodPost, in.url+"/", strings.NewReader(body))
	}
	if err != nil {
		in.t.Fatal(err)
	}
	if presign {
		sum := sha256.Sum256(nil)
		signed, _, err := v4.NewSigner().PresignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), service, "us-east-1", in.clock.Now())
		if err != nil {
			in.t.Fatal(err)
		}
		if req.URL, err = url.Parse(signed); err != nil {
			in.t.Fatal(err)
		}
	} else {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		sum := sha256.Sum256([]byte(body))
		if err := v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), service, "us-east-1", in.clock.Now()); err != nil {
			in.t.Fatal(err)
		}
	}
	if mangle != nil {
		mangle(req)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		in.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		in.t.Fatal(err)
	}
	return res.StatusCode, string(answer)
}

// refused requires an error with a code and pieces of its message.
func refused(t *testing.T, what string, err error, code string, pieces ...string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code {
		t.Errorf("%s: %v, want %s", what, err, code)
		return
	}
	for _, p := range pieces {
		if !strings.Contains(e.ErrorMessage(), p) {
			t.Errorf("%s: message %q lacks %q", what, e.ErrorMessage(), p)
		}
	}
}

func ok(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// allowing is a policy of statements, each without its braces.
func allowing(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[{` + strings.Join(statements, "},{") + `}]}`
}

func trusting(principal string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":%s,"Action":"sts:AssumeRole"}]}`, principal)
}
