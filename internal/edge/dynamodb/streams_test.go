// SPDX-License-Identifier: Apache-2.0

package dynamodb

import (
	"strings"
	"testing"
)

func TestStreamsAreJudgedByTheirARN(t *testing.T) {
	const stream = arnT + "/stream/2026-01-02T03:04:05.678"
	for _, tc := range []struct{ name, body, want string }{
		{"DescribeStream", `{"StreamArn":"` + stream + `"}`, "DescribeStream table/T/stream/2026-01-02T03:04:05.678"},
		{"GetShardIterator", `{"StreamArn":"` + stream + `","ShardId":"s","ShardIteratorType":"LATEST"}`, "GetShardIterator table/T/stream/2026-01-02T03:04:05.678"},
		{"GetShardIterator", `{"StreamArn":"` + arnT + `"}`, "ValidationException"},
		{"DescribeStream", `{"StreamArn":"` + arnT + `/stream/a/../b"}`, "ValidationException"},
		{"DescribeStream", `{}`, "ValidationException"},
		{"ListStreams", `{"TableName":"T"}`, "ListStreams *"},
		// An iterator that names a stream need not be that stream's.
		{"GetRecords", `{"ShardIterator":"` + stream + `|1|x"}`, "unknown"},
		{"GetRecords", `{"ShardIterator":""}`, "ValidationException"},
		{"GetRecords", `{"ShardIterator":"` + strings.Repeat("x", 2049) + `"}`, "ValidationException"},
		{"GetItem", `{"TableName":"T","Key":{"k":{"S":"1"}}}`, "unknown"}, // of the other service
	} {
		r := request(tc.name)
		r.Header.Set("X-Amz-Target", StreamsTarget+"."+tc.name)
		c, e := Read(r, &Schemas{})
		if e == nil && c.Body != nil {
			_, e = c.Body(strings.NewReader(tc.body))
		}
		if got := show(c, e); got != tc.want {
			t.Errorf("%s %s: %s, want %s", tc.name, tc.body, got, tc.want)
		}
	}
	if got := show(read("DescribeStream", `{"StreamArn":"`+stream+`"}`, &Schemas{})); got != "unknown" {
		t.Errorf("a stream of the tables' service: %s", got)
	}
}
