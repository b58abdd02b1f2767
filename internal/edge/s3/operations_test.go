// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"postern.dev/postern/internal/edge/call"
)

// actions are the actions that the service authorization reference and the API
// reference name for each operation: those of the bucket or object, and ">" those
// of a copy's source. "unknown" marks operations of other services that share
// the model: S3 Express and Object Lambda.
var actions = map[string]string{
	"AbortMultipartUpload":                            "AbortMultipartUpload",
	"CompleteMultipartUpload":                         "PutObject",
	"CopyObject":                                      "PutObject >GetObject",
	"CreateBucket":                                    "CreateBucket",
	"CreateBucketMetadataConfiguration":               "CreateBucketMetadataTableConfiguration PutObject",
	"CreateBucketMetadataTableConfiguration":          "CreateBucketMetadataTableConfiguration PutObject",
	"CreateMultipartUpload":                           "PutObject",
	"CreateSession":                                   "unknown",
	"DeleteBucket":                                    "DeleteBucket",
	"DeleteBucketAnalyticsConfiguration":              "PutAnalyticsConfiguration",
	"DeleteBucketCors":                                "PutBucketCORS",
	"DeleteBucketEncryption":                          "PutEncryptionConfiguration",
	"DeleteBucketIntelligentTieringConfiguration":     "PutIntelligentTieringConfiguration",
	"DeleteBucketInventoryConfiguration":              "PutInventoryConfiguration",
	"DeleteBucketLifecycle":                           "PutLifecycleConfiguration",
	"DeleteBucketMetadataConfiguration":               "DeleteBucketMetadataTableConfiguration DeleteBucket",
	"DeleteBucketMetadataTableConfiguration":          "DeleteBucketMetadataTableConfiguration DeleteBucket",
	"DeleteBucketMetricsConfiguration":                "PutMetricsConfiguration",
	"DeleteBucketOwnershipControls":                   "PutBucketOwnershipControls",
	"DeleteBucketPolicy":                              "DeleteBucketPolicy",
	"DeleteBucketReplication":                         "PutReplicationConfiguration",
	"DeleteBucketTagging":                             "PutBucketTagging",
	"DeleteBucketWebsite":                             "DeleteBucketWebsite",
	"DeleteObject":                                    "DeleteObject",
	"DeleteObjectTagging":                             "DeleteObjectTagging",
	"DeleteObjects":                                   "DeleteObject",
	"DeletePublicAccessBlock":                         "PutBucketPublicAccessBlock",
	"GetBucketAbac":                                   "GetBucketAbac ListBucket",
	"GetBucketAccelerateConfiguration":                "GetAccelerateConfiguration",
	"GetBucketAcl":                                    "GetBucketAcl",
	"GetBucketAnalyticsConfiguration":                 "GetAnalyticsConfiguration",
	"GetBucketCors":                                   "GetBucketCORS",
	"GetBucketEncryption":                             "GetEncryptionConfiguration",
	"GetBucketIntelligentTieringConfiguration":        "GetIntelligentTieringConfiguration",
	"GetBucketInventoryConfiguration":                 "GetInventoryConfiguration",
	"GetBucketLifecycle":                              "GetLifecycleConfiguration",
	"GetBucketLifecycleConfiguration":                 "GetLifecycleConfiguration",
	"GetBucketLocation":                               "GetBucketLocation",
	"GetBucketLogging":                                "GetBucketLogging",
	"GetBucketMetadataConfiguration":                  "GetBucketMetadataTableConfiguration ListBucket",
	"GetBucketMetadataTableConfiguration":             "GetBucketMetadataTableConfiguration ListBucket",
	"GetBucketMetricsConfiguration":                   "GetMetricsConfiguration",
	"GetBucketNotification":                           "GetBucketNotification",
	"GetBucketNotificationConfiguration":              "GetBucketNotification",
	"GetBucketOwnershipControls":                      "GetBucketOwnershipControls",
	"GetBucketPolicy":                                 "GetBucketPolicy",
	"GetBucketPolicyStatus":                           "GetBucketPolicyStatus",
	"GetBucketReplication":                            "GetReplicationConfiguration",
	"GetBucketRequestPayment":                         "GetBucketRequestPayment",
	"GetBucketTagging":                                "GetBucketTagging",
	"GetBucketVersioning":                             "GetBucketVersioning",
	"GetBucketWebsite":                                "GetBucketWebsite",
	"GetObject":                                       "GetObject",
	"GetObjectAcl":                                    "GetObjectAcl",
	"GetObjectAttributes":                             "GetObjectAttributes GetObject",
	"GetObjectLegalHold":                              "GetObjectLegalHold",
	"GetObjectLockConfiguration":                      "GetBucketObjectLockConfiguration",
	"GetObjectRetention":                              "GetObjectRetention",
	"GetObjectTagging":                                "GetObjectTagging",
	"GetObjectTorrent":                                "GetObjectTorrent GetObject",
	"GetPublicAccessBlock":                            "GetBucketPublicAccessBlock",
	"HeadBucket":                                      "ListBucket",
	"HeadObject":                                      "GetObject",
	"ListBucketAnalyticsConfigurations":               "GetAnalyticsConfiguration",
	"ListBucketIntelligentTieringConfigurations":      "GetIntelligentTieringConfiguration",
	"ListBucketInventoryConfigurations":               "GetInventoryConfiguration",
	"ListBucketMetricsConfigurations":                 "GetMetricsConfiguration",
	"ListBuckets":                                     "ListAllMyBuckets",
	"ListDirectoryBuckets":                            "unknown",
	"ListMultipartUploads":                            "ListBucketMultipartUploads",
	"ListObjectVersions":                              "ListBucketVersions",
	"ListObjects":                                     "ListBucket",
	"ListObjectsV2":                                   "ListBucket",
	"ListParts":                                       "ListMultipartUploadParts",
	"PutBucketAbac":                                   "PutBucketAbac CreateBucket",
	"PutBucketAccelerateConfiguration":                "PutAccelerateConfiguration",
	"PutBucketAcl":                                    "PutBucketAcl",
	"PutBucketAnalyticsConfiguration":                 "PutAnalyticsConfiguration",
	"PutBucketCors":                                   "PutBucketCORS",
	"PutBucketEncryption":                             "PutEncryptionConfiguration",
	"PutBucketIntelligentTieringConfiguration":        "PutIntelligentTieringConfiguration",
	"PutBucketInventoryConfiguration":                 "PutInventoryConfiguration",
	"PutBucketLifecycle":                              "PutLifecycleConfiguration",
	"PutBucketLifecycleConfiguration":                 "PutLifecycleConfiguration",
	"PutBucketLogging":                                "PutBucketLogging",
	"PutBucketMetricsConfiguration":                   "PutMetricsConfiguration",
	"PutBucketNotification":                           "PutBucketNotification",
	"PutBucketNotificationConfiguration":              "PutBucketNotification",
	"PutBucketOwnershipControls":                      "PutBucketOwnershipControls",
	"PutBucketPolicy":                                 "PutBucketPolicy",
	"PutBucketReplication":                            "PutReplicationConfiguration",
	"PutBucketRequestPayment":                         "PutBucketRequestPayment",
	"PutBucketTagging":                                "PutBucketTagging",
	"PutBucketVersioning":                             "PutBucketVersioning",
	"PutBucketWebsite":                                "PutBucketWebsite",
	"PutObject":                                       "PutObject",
	"PutObjectAcl":                                    "PutObjectAcl",
	"PutObjectLegalHold":                              "PutObjectLegalHold",
	"PutObjectLockConfiguration":                      "PutBucketObjectLockConfiguration",
	"PutObjectRetention":                              "PutObjectRetention",
	"PutObjectTagging":                                "PutObjectTagging",
	"PutPublicAccessBlock":                            "PutBucketPublicAccessBlock",
	"RenameObject":                                    "unknown",
	"RestoreObject":                                   "RestoreObject",
	"SelectObjectContent":                             "GetObject",
	"UpdateBucketMetadataInventoryTableConfiguration": "UpdateBucketMetadataInventoryTableConfiguration CreateBucket",
	"UpdateBucketMetadataJournalTableConfiguration":   "UpdateBucketMetadataJournalTableConfiguration CreateBucket",
	"UpdateObjectEncryption":                          "UpdateObjectEncryption PutObject",
	"UploadPart":                                      "PutObject",
	"UploadPartCopy":                                  "PutObject >GetObject",
	"WriteGetObjectResponse":                          "unknown",
}

// elsewhere are operations that another host answers under the request line of
// one of S3's own, which it is here: the same bucket list, a bucket's name.
var elsewhere = map[string]string{"ListDirectoryBuckets": "ListAllMyBuckets", "WriteGetObjectResponse": "PreconditionFailed"}

func TestEveryOperationOfTheModelIsMapped(t *testing.T) {
	model, err := os.ReadFile("testdata/operations.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(model)) {
		f := strings.Fields(line)
		if len(f) < 4 || strings.HasPrefix(line, "#") {
			continue
		}
		name, method, uri := f[0], f[1], f[2]
		want, ok := actions[name]
		if !ok {
			t.Errorf("%s is not listed", name)
			continue
		}
		seen[name] = true
		if w, ok := elsewhere[name]; ok {
			want = w
		}
		versioned := ""
		uri = strings.NewReplacer("{Bucket}", "data", "{Key+}", "a").Replace(uri)
		add := func(uri, param string) string {
			sep := "?"
			if strings.Contains(uri, "?") {
				sep = "&"
			}
			return uri + sep + param + "=1"
		}
		header := http.Header{}
		if len(f) > 4 && strings.HasPrefix(f[4], "header=x-amz-copy-source!") {
			header.Set("X-Amz-Copy-Source", "src/b")
		}
		required, all := uri, uri
		for p := range strings.SplitSeq(strings.TrimPrefix(f[3], "query="), ",") {
			if p == "" {
				continue
			}
			name, must := strings.CutSuffix(p, "!")
			if must {
				required = add(required, name)
			}
			all = add(all, name)
			if name == "versionId" {
				versioned = operations[operationOf(t, method, uri)].versioned
			}
		}
		got := read(method, required, header)
		if got != want {
			t.Errorf("%s: %s %s is %s, want %s", name, method, required, got, want)
		}
		if versioned != "" {
			own, rest, _ := strings.Cut(want, " ")
			want = strings.TrimPrefix(versioned, "s3:")
			if rest != "" && own == "GetObjectAttributes" {
				rest = "GetObjectVersion"
			}
			if k := operationOf(t, method, uri); k.sub == "acl" {
				rest = own
			}
			if rest != "" {
				want += " " + rest
			}
		}
		if name == "ListDirectoryBuckets" {
			want = "unknown" // max-directory-buckets
		}
		if got := read(method, all, header); got != want {
			t.Errorf("%s: %s %s is %s, want %s", name, method, all, got, want)
		}
	}
	if len(seen) != len(actions) || len(seen) < 100 {
		t.Errorf("the model has %d operations, the list %d", len(seen), len(actions))
	}
}

// operationOf finds the table's row of a model's URI.
func operationOf(t *testing.T, method, uri string) opKey {
	t.Helper()
	path, query, _ := strings.Cut(uri, "?")
	k := opKey{onObject, method, ""}
	if strings.Count(path, "/") == 1 {
		k.scope = onBucket
	}
	for p := range strings.SplitSeq(query, "&") {
		if subresources[k.scope][p] {
			k.sub = p
		}
	}
	if _, ok := operations[k]; !ok {
		t.Fatalf("%s %s: no operation", method, uri)
	}
	return k
}

// read reads a request, its body too if that is what decides, and names the
// actions.
func read(method, uri string, h http.Header) string {
	c, e := Read(call.Request{Method: method, URI: uri, Header: h})
	if e != nil {
		return e.Code
	}
	if c.Unknown != "" {
		return "unknown"
	}
	var out []string
	for _, k := range c.Checks {
		a := strings.TrimPrefix(k.Action, "s3:")
		if strings.Contains(k.Resource, ":::src") {
			a = ">" + a
		}
		out = append(out, a)
	}
	return strings.Join(out, " ")
}
