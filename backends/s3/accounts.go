// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

// maxAccountsFile bounds the accounts file, about 100,000 keys.
const maxAccountsFile = 16 << 20

var (
	accountID = regexp.MustCompile(`^[0-9]{12}$`)
	rootARN   = regexp.MustCompile(`^arn:aws:iam::([0-9]{12}):root$`)
)

// accessKey is one entry of the accounts file. Several keys may name one account; they are then the same owner.
type accessKey struct {
	Access  string `json:"access"`
	Secret  string `json:"secret"`
	Token   string `json:"token,omitempty"` // the session token the key must come with; empty for a permanent key
	Account string `json:"account"`         // 12 digits, the owner of every bucket the key makes
	Role    string `json:"role,omitempty"`  // "user" is the only role, and the default
}

// accountSet is one version of the accounts file, read and checked.
type accountSet struct {
	keys     map[string]accessKey
	accounts map[string]bool
}

// parseAccounts reads an accounts file. It refuses the whole file for one bad entry: half a list would lock out
// some callers without anybody having decided so.
func parseAccounts(data []byte) (*accountSet, error) {
	var file struct {
		Accounts []accessKey `json:"accounts"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("there is text after the JSON object")
	}
	set := &accountSet{keys: map[string]accessKey{}, accounts: map[string]bool{}}
	for i, k := range file.Accounts {
		switch {
		case k.Access == "" || k.Secret == "":
			return nil, fmt.Errorf("accounts[%d]: access and secret must not be empty", i)
		case !accountID.MatchString(k.Account):
			return nil, fmt.Errorf("accounts[%d]: account %q is not a 12-digit account id", i, k.Account)
		case k.Role != "" && k.Role != "user":
			return nil, fmt.Errorf("accounts[%d]: role %q is unknown, write \"user\"", i, k.Role)
		case set.keys[k.Access].Access != "":
			return nil, fmt.Errorf("accounts[%d]: access key %s appears twice", i, k.Access)
		}
		set.keys[k.Access] = k
		set.accounts[k.Account] = true
	}
	return set, nil
}

// fileVersion tells one version of the file from another without reading it.
type fileVersion struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
}

func versionOf(fi os.FileInfo) fileVersion {
	st := fi.Sys().(*syscall.Stat_t)
	return fileVersion{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}
}

// errAccountsUnreadable is what callers see while the file cannot be used. It is neither InvalidAccessKeyId, which
// would tell a caller his good key is bad, nor the previous list, which would keep a revoked key alive.
var errAccountsUnreadable = s3err.APIError{
	Code:           "ServiceUnavailable",
	Description:    "The list of access keys cannot be read at the moment. Please retry.",
	HTTPStatusCode: http.StatusServiceUnavailable,
}

// fileIAM is the gateway's identity service on the accounts file. It looks at the file on every request (one stat)
// and reads it when it is another version, so a key works, and stops working, as soon as the file is replaced.
//
// The gateway knows owners by a name; fileIAM gives it the account id instead of the access key, which is what makes
// all keys of an account see the same buckets. fileIAM also speaks for the account's own permissions (EvaluatePolicy):
// a key may do everything in its own account, and what others' bucket policies grant elsewhere.
//
// Besides auth.IAMService it implements auth.SigningKeyProvider, auth.PolicyEvaluator and auth.PrincipalResolver,
// which the gateway finds by type assertion.
type fileIAM struct {
	path string
	// bucketACL returns a bucket's stored ACL, which names the owner. Set once, before the first request.
	bucketACL func(context.Context, *s3.GetBucketAclInput) ([]byte, error)

	mu      sync.Mutex
	version fileVersion
	set     *accountSet // nil: the version above is unusable
}

var (
	_ auth.IAMService         = (*fileIAM)(nil)
	_ auth.SigningKeyProvider = (*fileIAM)(nil)
	_ auth.PolicyEvaluator    = (*fileIAM)(nil)
	_ auth.PrincipalResolver  = (*fileIAM)(nil)
)

// newFileIAM reads path once, so that a missing or malformed file is found at the start.
func newFileIAM(path string) (*fileIAM, error) {
	f := &fileIAM{path: path}
	if _, err := f.load(); err != nil {
		return nil, err
	}
	return f, nil
}

// load returns the accounts of the file as it is now.
func (f *fileIAM) load() (*accountSet, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fi, err := os.Stat(f.path)
	if err != nil {
		f.version, f.set = fileVersion{}, nil
		return nil, fmt.Errorf("accounts file: %w", err)
	}
	if v := versionOf(fi); v == f.version {
		if f.set == nil {
			return nil, fmt.Errorf("accounts file %s is unusable, write a new one", f.path)
		}
		return f.set, nil
	}
	f.set = nil
	file, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("accounts file: %w", err)
	}
	defer file.Close()
	if fi, err = file.Stat(); err != nil {
		return nil, fmt.Errorf("accounts file: %w", err)
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxAccountsFile {
		return nil, fmt.Errorf("accounts file %s must be a regular file of at most %d bytes", f.path, maxAccountsFile)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxAccountsFile))
	if err != nil {
		return nil, fmt.Errorf("accounts file: %w", err)
	}
	f.version = versionOf(fi)
	if f.set, err = parseAccounts(data); err != nil {
		return nil, fmt.Errorf("accounts file %s: %w", f.path, err)
	}
	slog.Info("accounts read", "keys", len(f.set.keys), "accounts", len(f.set.accounts))
	return f.set, nil
}

// current is load for the request path: the reason is logged, the caller gets a retryable error.
func (f *fileIAM) current() (*accountSet, error) {
	set, err := f.load()
	if err != nil {
		slog.Error("no request can be authenticated", "error", err.Error())
		return nil, errAccountsUnreadable
	}
	return set, nil
}

// identity is the account as the gateway knows it: Access is the owner's name, Arn and RoleArn are the two spellings
// under which a bucket policy may name the account (RoleArn is the gateway's second exact match, put to this use).
func (k accessKey) identity() auth.Account {
	return auth.Account{Access: k.Account, Role: auth.RoleUser, Arn: "arn:aws:iam::" + k.Account + ":root", RoleArn: k.Account,
		SessionToken: k.Token, IsSession: k.Token != ""}
}

// DeriveSigningKey implements auth.SigningKeyProvider: the SigV4 signing key of an access key for one day, region and
// service, and the account it acts for. A key with a token answers only to that token, a key without one to none.
func (f *fileIAM) DeriveSigningKey(access, sessionToken, date, region, service string) ([]byte, auth.Account, error) {
	set, err := f.current()
	if err != nil {
		return nil, auth.Account{}, err
	}
	k, ok := set.keys[access]
	if !ok {
		return nil, auth.Account{}, auth.ErrNoSuchUser
	}
	if subtle.ConstantTimeCompare([]byte(k.Token), []byte(sessionToken)) != 1 {
		return nil, auth.Account{}, auth.ErrInvalidSessionToken
	}
	key := []byte("AWS4" + k.Secret)
	for _, part := range []string{date, region, service, "aws4_request"} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return key, k.identity(), nil
}

// EvaluatePolicy implements auth.PolicyEvaluator. It allows an account everything in its own buckets, making a bucket,
// and listing its buckets; about anything else it has no opinion, and the other owner's bucket policy or ACL decides.
// Without it an owner whose bucket policy grants something to others would lose his own access with it.
func (f *fileIAM) EvaluatePolicy(account, _ string, actions []auth.Action, resources []string, _ map[string][]string) (auth.PolicyEvaluation, error) {
	ev := auth.PolicyEvaluation{PrincipalArn: "arn:aws:iam::" + account + ":root"}
	owner := map[string]string{}
	for _, resource := range resources {
		bucket, _, _ := strings.Cut(strings.TrimPrefix(resource, auth.ResourceArnPrefix), "/")
		if _, known := owner[bucket]; !known && utils.IsValidBucketName(bucket) {
			name, err := f.owner(bucket)
			if err != nil {
				return auth.PolicyEvaluation{}, err
			}
			owner[bucket] = name
		}
		row := make([]bool, len(actions))
		for i, action := range actions {
			row[i] = action == auth.CreateBucketAction || action == auth.ListAllMyBucketsAction ||
				(account != "" && owner[bucket] == account)
		}
		ev.Decisions = appendDecisions(ev.Decisions, row)
	}
	return ev, nil
}

// appendDecisions adds a row of the gateway's decisions: 1 is allow, 0 is no opinion. The type and its constants are
// not exported, so it is inferred; the tests of a bucket policy fail should the numbers ever change.
func appendDecisions[D ~int](rows [][]D, allowed []bool) [][]D {
	row := make([]D, len(allowed))
	for i, ok := range allowed {
		if ok {
			row[i] = 1
		}
	}
	return append(rows, row)
}

// owner returns the account that owns bucket, "" if there is no such bucket.
func (f *fileIAM) owner(bucket string) (string, error) {
	data, err := f.bucketACL(context.Background(), &s3.GetBucketAclInput{Bucket: &bucket})
	if err != nil {
		var e s3err.S3Error
		if errors.As(err, &e) && e.StatusCode() == http.StatusNotFound {
			return "", nil
		}
		return "", err
	}
	acl, err := auth.ParseACL(data)
	return acl.Owner, err
}

// ResolvePrincipals implements auth.PrincipalResolver: it returns the principals of a bucket policy that name no
// account of the file. An account is named by its id or by arn:aws:iam::ID:root; there are no users or roles here.
func (f *fileIAM) ResolvePrincipals(principals []string) ([]string, error) {
	ids := make([]string, len(principals))
	for i, p := range principals {
		ids[i] = p
		if m := rootARN.FindStringSubmatch(p); m != nil {
			ids[i] = m[1]
		}
	}
	return f.missing(ids, principals)
}

// ResolveAccounts implements auth.IAMService for ACL grantees, which are account ids.
func (f *fileIAM) ResolveAccounts(ids []string) ([]string, error) { return f.missing(ids, ids) }

func (f *fileIAM) missing(ids, names []string) ([]string, error) {
	set, err := f.current()
	if err != nil {
		return nil, err
	}
	missing := []string{}
	for i, id := range ids {
		if !set.accounts[id] {
			missing = append(missing, names[i])
		}
	}
	return missing, nil
}

// GetUserAccount implements auth.IAMService. Signatures go through DeriveSigningKey; this is for the gateway's
// admin API, which is not served.
func (f *fileIAM) GetUserAccount(access string) (auth.Account, error) {
	set, err := f.current()
	if err != nil {
		return auth.Account{}, err
	}
	if k, ok := set.keys[access]; ok {
		return k.identity(), nil
	}
	return auth.Account{}, auth.ErrNoSuchUser
}

var errReadOnly = s3err.GetAPIError(s3err.ErrAdminMethodNotSupported)

// CreateAccount implements auth.IAMService; accounts are made by replacing the file.
func (f *fileIAM) CreateAccount(auth.Account) error { return errReadOnly }

// UpdateUserAccount implements auth.IAMService; accounts are changed by replacing the file.
func (f *fileIAM) UpdateUserAccount(string, auth.MutableProps) error { return errReadOnly }

// DeleteUserAccount implements auth.IAMService; accounts are removed by replacing the file.
func (f *fileIAM) DeleteUserAccount(string) error { return errReadOnly }

// ListUserAccounts implements auth.IAMService for the admin API, which is not served.
func (f *fileIAM) ListUserAccounts() ([]auth.Account, error) { return nil, errReadOnly }

// Shutdown implements auth.IAMService; there is nothing to release.
func (f *fileIAM) Shutdown() error { return nil }
