// SPDX-License-Identifier: Apache-2.0

package dynamodb

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"postern.dev/postern/internal/edge/call"
)

const (
	account = "111111111111"
	arnT    = "arn:aws:dynamodb:us-east-1:" + account + ":table/T"
	auth    = "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-target, Signature=00"
)

func request(name string) call.Request {
	h := http.Header{}
	h.Set("X-Amz-Target", Target+"."+name)
	h.Set("Authorization", auth)
	return call.Request{Method: "POST", URI: "/", Header: h, Region: "us-east-1", Account: func(string) string { return account }}
}

func read(name, body string, s *Schemas) (*call.Call, *call.Error) {
	c, e := Read(request(name), s)
	if e != nil || c.Body == nil {
		return c, e
	}
	out, e := c.Body(strings.NewReader(body))
	if e != nil {
		return nil, e
	}
	if sent, _ := io.ReadAll(out); string(sent) != body {
		return nil, call.Refuse("Changed", "")
	}
	return c, nil
}

// show writes the checks, one on a line: action, resource and keys.
func show(c *call.Call, e *call.Error) string {
	if e != nil {
		return e.Code
	}
	if c.Unknown != "" {
		return "unknown"
	}
	var out []string
	for _, k := range c.Checks {
		s := strings.TrimPrefix(k.Action, "dynamodb:") + " " + strings.TrimPrefix(k.Resource, "arn:aws:dynamodb:us-east-1:"+account+":")
		for _, key := range slices.Sorted(maps.Keys(k.Context)) {
			v := slices.Clone(k.Context[key])
			slices.Sort(v)
			s += " " + strings.TrimPrefix(key, "dynamodb:") + "=" + strings.Join(v, ",")
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

func TestEveryOperationOfTheModelIsMapped(t *testing.T) {
	// A value for each member that an operation's mapping can need.
	members := map[string]string{
		"TableName": `"T"`, "TargetTableName": `"T"`, "SourceTableName": `"S"`, "GlobalTableName": `"T"`, "TableArn": `"` + arnT + `"`,
		"ResourceArn": `"` + arnT + `"`, "BackupArn": `"` + arnT + `/backup/0123"`, "ExportArn": `"` + arnT + `/export/0123"`,
		"ImportArn": `"` + arnT + `/import/0123"`, "Key": `{"k":{"S":"1"}}`, "Item": `{"k":{"S":"1"}}`,
		"Statement": `"SELECT a FROM T"`, "Statements": `[{"Statement":"SELECT a FROM T"}]`,
		"TransactStatements": `[{"Statement":"SELECT a FROM T"}]`, "TableCreationParameters": `{"TableName":"T"}`,
		"RequestItems": `{"T":[{"PutRequest":{"Item":{"k":{"S":"1"}}}}]}`,
	}
	special := map[string]string{
		"TransactGetItems":   `{"TransactItems":[{"Get":{"TableName":"T","Key":{"k":{"S":"1"}}}}]}`,
		"TransactWriteItems": `{"TransactItems":[{"Put":{"TableName":"T","Item":{"k":{"S":"1"}}}}]}`,
		"BatchGetItem":       `{"RequestItems":{"T":{"Keys":[{"k":{"S":"1"}}]}}}`,
	}
	// Operations whose actions have other names, and those without a resource.
	actions := map[string][]string{
		"TransactGetItems": {"GetItem"}, "TransactWriteItems": {"PutItem"},
		"ExecuteStatement": {"PartiQLSelect"}, "BatchExecuteStatement": {"PartiQLSelect"}, "ExecuteTransaction": {"PartiQLSelect"},
		"RestoreTableFromBackup":    append([]string{"RestoreTableFromBackup"}, restoreActions...),
		"RestoreTableToPointInTime": append([]string{"RestoreTableToPointInTime"}, restoreActions...),
	}
	everywhere := strings.Fields("ListTables DescribeLimits DescribeEndpoints ListBackups ListContributorInsights ListExports ListGlobalTables ListImports")
	model, err := os.ReadFile("testdata/operations.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(model)) {
		name, list, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "#" {
			continue
		}
		n++
		body := special[name]
		if body == "" {
			var parts []string
			for m := range strings.SplitSeq(list, ",") {
				m, must := strings.CutSuffix(m, "!")
				if v := members[m]; v != "" && (must || m == "SourceTableName") {
					parts = append(parts, fmt.Sprintf("%q:%s", m, v))
				}
			}
			body = "{" + strings.Join(parts, ",") + "}"
		}
		c, e := read(name, body, nil)
		if e != nil || c.Unknown != "" {
			t.Errorf("%s %s is %s", name, body, show(c, e))
			continue
		}
		want := actions[name]
		if want == nil {
			want = []string{name}
		}
		got := map[string]bool{}
		for _, k := range c.Checks {
			got[strings.TrimPrefix(k.Action, "dynamodb:")] = true
			if star := slices.Contains(everywhere, name); (k.Resource == "*") != star || !star && !strings.HasPrefix(k.Resource, "arn:aws:dynamodb:") {
				t.Errorf("%s is on %s", name, k.Resource)
			}
		}
		slices.Sort(want)
		if have := slices.Sorted(maps.Keys(got)); !slices.Equal(have, want) {
			t.Errorf("%s needs %v, want %v", name, have, want)
		}
	}
	if n != len(operations) || n < 57 {
		t.Errorf("the model has %d operations, the table %d", n, len(operations))
	}
}

func TestRequestsAndTheirKeys(t *testing.T) {
	s := &Schemas{}
	s.learn("arn:aws:dynamodb:us-east-1:"+account+":table/K", []byte(`{"Table":{"TableName":"K","KeySchema":[{"AttributeName":"p","KeyType":"HASH"},{"AttributeName":"s","KeyType":"RANGE"}],
		"GlobalSecondaryIndexes":[{"IndexName":"I","KeySchema":[{"AttributeName":"g","KeyType":"HASH"}]}]}}`))
	for _, tc := range []struct{ name, body, want string }{
		{"GetItem", `{"TableName":"T","Key":{"k":{"S":"v"}}}`, "GetItem table/T Attributes=k LeadingKeys=v Select=ALL_ATTRIBUTES"},
		{"GetItem", `{"TableName":"` + arnT + `","Key":{"k":{"N":"01.50e1"}},"ProjectionExpression":"a.b[0], #x","ExpressionAttributeNames":{"#x":"c d"}}`,
			"GetItem table/T Attributes=a,c d,k LeadingKeys=15 Select=SPECIFIC_ATTRIBUTES"},
		// Of a table that is not known, either attribute may be the partition key.
		{"DeleteItem", `{"TableName":"T","Key":{"p":{"S":"1"},"s":{"S":"2"}},"ReturnValues":"ALL_OLD"}`,
			"DeleteItem table/T Attributes=p,s LeadingKeys=1; DeleteItem table/T Attributes=p,s LeadingKeys=2"},
		{"DeleteItem", `{"TableName":"K","Key":{"p":{"S":"1"},"s":{"S":"2"}}}`, "DeleteItem table/K Attributes=p,s LeadingKeys=1"},
		{"PutItem", `{"TableName":"K","Item":{"p":{"B":"eA=="},"x":{"L":[{"M":{"y":{"S":"deep"}}}]}},"ConditionExpression":"attribute_not_exists(z)"}`,
			"PutItem table/K Attributes=p,x,z LeadingKeys=eA=="},
		{"UpdateItem", `{"TableName":"K","Key":{"p":{"S":"1"}},"UpdateExpression":"SET a = if_not_exists(b, :v) + :w REMOVE c.d ADD e :x"}`,
			"UpdateItem table/K Attributes=a,b,c,e,p LeadingKeys=1"},
		{"UpdateItem", `{"TableName":"K","Key":{"p":{"S":"1"}},"AttributeUpdates":{"a":{}},"Expected":{"b":{}}}`,
			"UpdateItem table/K Attributes=a,b,p LeadingKeys=1"},
		{"Query", `{"TableName":"K","KeyConditionExpression":"p = :p AND s BETWEEN :a AND :b","FilterExpression":"x IN (:a)","ExpressionAttributeValues":{":p":{"S":"1"},":a":{"S":"2"},":b":{"S":"3"}}}`,
			"Query table/K Attributes=p,s,x LeadingKeys=1 Select=ALL_ATTRIBUTES"},
		{"Query", `{"TableName":"K","IndexName":"I","KeyConditionExpression":"#g=:p","ExpressionAttributeNames":{"#g":"g"},"ExpressionAttributeValues":{":p":{"S":"1"}}}`,
			"Query table/K/index/I Attributes=g LeadingKeys=1 Select=ALL_PROJECTED_ATTRIBUTES"},
		{"Query", `{"TableName":"T","Select":"COUNT","KeyConditions":{"p":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"1"}]}}}`,
			"Query table/T Attributes=p LeadingKeys=1 Select=COUNT"},
		{"Scan", `{"TableName":"K","AttributesToGet":["a"]}`, "Scan table/K Attributes=a Select=SPECIFIC_ATTRIBUTES"},
		{"BatchGetItem", `{"RequestItems":{"K":{"Keys":[{"p":{"S":"1"},"s":{"S":"9"}},{"p":{"S":"2"},"s":{"S":"9"}}],"ProjectionExpression":"a"},"T":{"Keys":[{"k":{"S":"3"}}]}}}`,
			"BatchGetItem table/K Attributes=a,p,s LeadingKeys=1,2 Select=SPECIFIC_ATTRIBUTES; BatchGetItem table/T Attributes=k LeadingKeys=3 Select=ALL_ATTRIBUTES"},
		{"BatchWriteItem", `{"RequestItems":{"T":[{"PutRequest":{"Item":{"k":{"S":"1"},"v":{"S":"2"}}}},{"DeleteRequest":{"Key":{"k":{"S":"3"}}}}]}}`,
			"BatchWriteItem table/T Attributes=k,v LeadingKeys=1,3"},
		{"TransactWriteItems", `{"TransactItems":[{"Put":{"TableName":"T","Item":{"k":{"S":"1"}}}},{"ConditionCheck":{"TableName":"U","Key":{"k":{"S":"2"}},"ConditionExpression":"a = :a"}},{"Put":{"TableName":"T","Item":{"k":{"S":"4"}}}},{"Update":{"TableName":"T","Key":{"k":{"S":"5"}}}}]}`,
			"PutItem table/T Attributes=k LeadingKeys=1,4; ConditionCheckItem table/U Attributes=a,k LeadingKeys=2; UpdateItem table/T Attributes=k LeadingKeys=5"},
		{"TransactGetItems", `{"TransactItems":[{"Put":{"TableName":"T","Item":{}}}]}`, "ValidationException"},
		{"TransactWriteItems", `{"TransactItems":[{"Put":{"TableName":"T","Item":{}},"Delete":{"TableName":"U","Key":{}}}]}`, "ValidationException"},
		{"CreateTable", `{"TableName":"T","Tags":[{"Key":"a","Value":"b"}]}`, "CreateTable table/T; TagResource table/T"},
		{"UpdateTable", `{"TableName":"T","ReplicaUpdates":[{"Create":{"RegionName":"x"}}]}`, "UpdateTable table/T; CreateTableReplica table/T"},
		{"CreateGlobalTable", `{"GlobalTableName":"T"}`, "CreateGlobalTable arn:aws:dynamodb::111111111111:global-table/T; CreateGlobalTable table/T"},

		// PartiQL.
		{"ExecuteStatement", `{"Statement":"SELECT * FROM \"T\""}`, "PartiQLSelect table/T FullTableScan=true Select=ALL_ATTRIBUTES"},
		{"ExecuteStatement", `{"Statement":"select a, b.c from K.I where g = ? and x > 3 ORDER BY y DESC","Parameters":[{"S":"v"}]}`,
			"PartiQLSelect table/K/index/I Attributes=a,b,g,x,y FullTableScan=true LeadingKeys=v Select=SPECIFIC_ATTRIBUTES; PartiQLSelect table/K/index/I Attributes=a,b,g,x,y FullTableScan=false LeadingKeys=v Select=SPECIFIC_ATTRIBUTES"},
		{"ExecuteStatement", `{"Statement":"SELECT a FROM K WHERE p IN ['1', '2']"}`,
			"PartiQLSelect table/K Attributes=a,p FullTableScan=true LeadingKeys=1,2 Select=SPECIFIC_ATTRIBUTES; PartiQLSelect table/K Attributes=a,p FullTableScan=false LeadingKeys=1,2 Select=SPECIFIC_ATTRIBUTES"},
		{"ExecuteStatement", `{"Statement":"INSERT INTO K VALUE {'p':'it''s', 'n':[1,{'x':?}], 'm':?}","Parameters":[{"S":"a"},{"N":"2"}]}`,
			"PartiQLInsert table/K Attributes=m,n,p LeadingKeys=it's"},
		{"ExecuteStatement", `{"Statement":"UPDATE K SET a=? REMOVE b.c WHERE p='1' RETURNING ALL OLD *","Parameters":[{"S":"a"}]}`,
			"PartiQLUpdate table/K Attributes=a,b,p LeadingKeys=1 ReturnValues=ALL_OLD"},
		{"ExecuteStatement", `{"Statement":"DELETE FROM K WHERE \"p\"='1' AND begins_with(s, 'x');"}`, "PartiQLDelete table/K Attributes=p,s LeadingKeys=1"},
		{"BatchExecuteStatement", `{"Statements":[{"Statement":"DELETE FROM K WHERE p='1'"},{"Statement":"INSERT INTO T VALUE {'k':'2'}"}]}`,
			"PartiQLDelete table/K Attributes=p LeadingKeys=1; PartiQLInsert table/T Attributes=k LeadingKeys=2"},
		{"ExecuteTransaction", `{"TransactStatements":[{"Statement":"EXISTS(SELECT * FROM T WHERE k='1')"}]}`,
			"PartiQLSelect table/T Attributes=k FullTableScan=true LeadingKeys=1 Select=ALL_ATTRIBUTES; ConditionCheckItem table/T Attributes=k FullTableScan=true LeadingKeys=1 Select=ALL_ATTRIBUTES; PartiQLSelect table/T Attributes=k FullTableScan=false LeadingKeys=1 Select=ALL_ATTRIBUTES; ConditionCheckItem table/T Attributes=k FullTableScan=false LeadingKeys=1 Select=ALL_ATTRIBUTES"},
		{"ExecuteStatement", `{"Statement":"SELECT * FROM T, U"}`, "ValidationException"},
		{"ExecuteStatement", `{"Statement":"SELECT * FROM T WHERE k IN (SELECT k FROM U)"}`, "ValidationException"},
		{"ExecuteStatement", `{"Statement":"SELECT * FROM T -- U"}`, "ValidationException"},
		{"ExecuteStatement", `{"Statement":"SELECT * FROM T; DELETE FROM U WHERE k='1'"}`, "ValidationException"},
		{"ExecuteStatement", `{"Statement":"SELECT * FROM T WHERE 'x' = k"}`, "ValidationException"},
		{"ExecuteStatement", `{"Statement":"SELECT * FROM \"T/index/I\""}`, "ValidationException"},
		{"ExecuteStatement", `{"Statement":"DROP TABLE T"}`, "ValidationException"},
		{"ExecuteStatement", `{"Statement":""}`, "ValidationException"},

		// Any text may be in an item; it must be readable as the partition key's value,
		// or where that may be any attribute's.
		{"PutItem", `{"TableName":"K","Item":{"p":{"S":"1"},"x":{"S":"a\u0000"},"y":{"S":"\ud83d"},"z":{"S":"\ufffd"}}}`, "PutItem table/K Attributes=p,x,y,z LeadingKeys=1"},
		{"PutItem", `{"TableName":"K","Item":{"p":{"S":"\ufffd \ud83d\ude00 \u00e9"}}}`, "PutItem table/K Attributes=p LeadingKeys=� 😀 é"},
		{"PutItem", `{"TableName":"K","Item":{"p":{"S":"1\u0000"}}}`, "SerializationException"},
		{"PutItem", `{"TableName":"K","Item":{"p":{"S":"1\ud83d"}}}`, "SerializationException"},
		{"PutItem", `{"TableName":"T","Item":{"p":{"S":"1"},"x":{"S":"a\u0000"}}}`, "SerializationException"},
		{"BatchWriteItem", `{"RequestItems":{"K":[{"PutRequest":{"Item":{"p":{"S":"1"},"x":{"S":"\u0000"}}}},{"PutRequest":{"Item":{"p":{"S":"2\u0000"}}}}]}}`, "SerializationException"},

		// Two keys of one item: a backend may go by either.
		{"GetItem", `{"TableName":"K","Key":{"p":{"S":"1"},"s":{"S":"9"}},"Item":{"p":{"S":"2"}}}`, "GetItem table/K Attributes=p,s LeadingKeys=1,2 Select=ALL_ATTRIBUTES"},
		{"BatchWriteItem", `{"RequestItems":{"K":[{"PutRequest":{"Item":{"p":{"S":"1"}}},"DeleteRequest":{"Key":{"p":{"S":"2"}}}}]}}`, "BatchWriteItem table/K Attributes=p LeadingKeys=1,2"},

		{"Scan", `{"TableName":"K","Key":{"p":{"S":"1"}},"Item":{"p":{"S":"1"}}}`, "Scan table/K Attributes=p Select=ALL_ATTRIBUTES"},
		{"Query", `{"TableName":"K","Key":{"p":{"S":"1"}},"KeyConditionExpression":"p = :p","ExpressionAttributeValues":{":p":{"S":"2"}}}`, "Query table/K Attributes=p LeadingKeys=2 Select=ALL_ATTRIBUTES"},

		// What could be read in two ways.
		{"GetItem", `{"TableName":"T","TableName":"U","Key":{"k":{"S":"v"}}}`, "SerializationException"},
		{"GetItem", `{"TableName":"T","tablename":"U","Key":{"k":{"S":"v"}}}`, "SerializationException"},
		{"GetItem", `{"TableName":"T","Key":{"k":{"S":"v","N":"1"}}}`, "ValidationException"},
		{"GetItem", `{"TableName":"T\ud800","Key":{}}`, "SerializationException"},
		{"GetItem", `{"TableName":"T","Key":{"k":{"S":"v"}}}{}`, "SerializationException"},
		{"GetItem", `{"TableName":"../U","Key":{}}`, "ValidationException"},
		{"GetItem", `{"TableName":"arn:aws:dynamodb:us-east-1:1:table/T","Key":{}}`, "ValidationException"},
		{"GetItem", `{"TableName":"T","Key":{},"ProjectionExpression":"#x"}`, "ValidationException"},
		{"GetItem", `[]`, "SerializationException"},
		{"GetItem", strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200), "SerializationException"},
		{"Frobnicate", `{}`, "unknown"},
	} {
		if got := show(read(tc.name, tc.body, s)); got != tc.want {
			t.Errorf("%s %s:\n got %s\nwant %s", tc.name, call.Cut(tc.body, 200), got, tc.want)
		}
	}
	c, e := read("TransactGetItems", `{"ReturnConsumedCapacity":"TOTAL","TransactItems":[{"Get":{"TableName":"T","Key":{"k":{"S":"1"}}}}]}`, nil)
	if e != nil || c.Context["dynamodb:EnclosingOperation"][0] != "TransactGetItems" || c.Context["dynamodb:ReturnConsumedCapacity"][0] != "TOTAL" {
		t.Errorf("%v %v", c, e)
	}
}

func TestRequestsThatAreNoneAreUnknown(t *testing.T) {
	for name, change := range map[string]func(*call.Request){
		"GET":           func(r *call.Request) { r.Method = "GET" },
		"a path":        func(r *call.Request) { r.URI = "/x" },
		"a parameter":   func(r *call.Request) { r.URI = "/?x=1" },
		"no target":     func(r *call.Request) { r.Header.Del("X-Amz-Target") },
		"other service": func(r *call.Request) { r.Header.Set("X-Amz-Target", "DynamoDBStreams_20120810.GetItem") },
	} {
		r := request("GetItem")
		change(&r)
		if c, e := Read(r, nil); e != nil || c.Unknown == "" || c.Checks[0].Action != "dynamodb:*" || c.Body != nil {
			t.Errorf("%s: %v %v", name, c, e)
		}
	}
	r := request("GetItem")
	r.Header["X-Amz-Target"] = append(r.Header["X-Amz-Target"], Target+".Scan")
	if _, e := Read(r, nil); e == nil {
		t.Error("two targets are taken")
	}
}

func TestTablesAreLearntFromAnswers(t *testing.T) {
	s := &Schemas{}
	const body = `{"TableName":"K","Key":{"a":{"S":"1"},"b":{"S":"2"}}}`
	if c, _ := read("GetItem", body, s); len(c.Checks) != 2 {
		t.Fatalf("%d readings of an unknown table's key", len(c.Checks))
	}
	c, e := read("DescribeTable", `{"TableName":"K"}`, s)
	if e != nil {
		t.Fatal(e)
	}
	c.Answer(400, []byte(`{"Table":{"KeySchema":[{"AttributeName":"a","KeyType":"HASH"}]}}`))
	if c, _ := read("GetItem", body, s); len(c.Checks) != 2 {
		t.Error("an error taught a table")
	}
	c.Answer(200, []byte(`{"Table":{"KeySchema":[{"AttributeName":"a","KeyType":"RANGE"},{"AttributeName":"b","KeyType":"HASH"}]}}`))
	if c, _ := read("GetItem", body, s); len(c.Checks) != 1 || c.Checks[0].Context["dynamodb:LeadingKeys"][0] != "2" {
		t.Errorf("%v", c.Checks)
	}
	// The table was made anew with other keys: no reading is left out.
	if c, _ := read("GetItem", `{"TableName":"K","Key":{"c":{"S":"1"},"d":{"S":"2"}}}`, s); len(c.Checks) != 2 {
		t.Errorf("%v", c.Checks)
	}
	c, _ = read("DeleteTable", `{"TableName":"K"}`, s)
	c.Answer(200, nil)
	if c, _ := read("GetItem", body, s); len(c.Checks) != 2 {
		t.Error("a deleted table is still known")
	}
}

// FuzzRead feeds bodies: nothing panics, and what is accepted has checks on
// resources of DynamoDB.
func FuzzRead(f *testing.F) {
	f.Add("GetItem", `{"TableName":"T","Key":{"k":{"S":"v"}}}`)
	f.Add("ExecuteStatement", `{"Statement":"SELECT a FROM T.I WHERE k IN (?, 'x')","Parameters":[{"S":"1"}]}`)
	f.Add("ExecuteTransaction", `{"TransactStatements":[{"Statement":"EXISTS(SELECT * FROM T WHERE k=1e5)"}]}`)
	f.Add("Query", `{"TableName":"T","KeyConditionExpression":"a = :b","ExpressionAttributeValues":{":b":{"N":"1e-5"}}}`)
	f.Fuzz(func(t *testing.T, name, body string) {
		c, e := read(name, body, nil)
		if e != nil {
			if e.Code == "Changed" {
				t.Fatal("the body was changed")
			}
			return
		}
		if len(c.Checks) == 0 {
			t.Fatalf("%s %s has no checks", name, body)
		}
		for _, k := range c.Checks {
			if k.Resource != "*" && !anyARN.MatchString(k.Resource) && !strings.Contains(k.Resource, ":global-table/") && !strings.Contains(k.Resource, "/") {
				t.Fatalf("%s %s is on %q", name, body, k.Resource)
			}
		}
	})
}
