// SPDX-License-Identifier: Apache-2.0

// Package dynamodb reads requests as Amazon DynamoDB does: which operations they
// are, on which tables and indexes, with which condition keys.
//
// # Leading keys
//
// dynamodb:LeadingKeys is the value of a table's partition key, and only the
// table knows which attribute that is. A [Schemas] remembers it from the backend's
// answers to CreateTable, DescribeTable and UpdateTable. Until a table is known,
// every attribute that could be its partition key is judged as if it were, and all
// of these readings must be allowed. A key of one attribute leaves no doubt.
package dynamodb

import (
	"regexp"
	"slices"
	"strings"

	"postern.dev/postern/internal/edge/call"
)

// Target is the prefix of X-Amz-Target, StreamsTarget that of the operations on
// streams, which AWS has at names of their own.
const (
	Target        = "DynamoDB_20120810"
	StreamsTarget = "DynamoDBStreams_20120810"
)

// maxBody is DynamoDB's limit of a request, and some room for base64.
const maxBody = 24 << 20

// Read says what a request does.
func Read(r call.Request, schemas *Schemas) (*call.Call, *call.Error) {
	target, table := Target, operations
	if strings.HasPrefix(r.Header.Get("X-Amz-Target"), StreamsTarget+".") {
		target, table = StreamsTarget, streamOperations
	}
	c, name, e := call.ReadTarget(r, target, "dynamodb")
	if e != nil {
		return nil, e
	}
	op, ok := table[name]
	if !ok {
		c.MakeUnknown("dynamodb", "no action is known for %s with target %q", r.Method, call.Cut(r.Header.Get("X-Amz-Target"), 64))
		return c, nil
	}
	account := ""
	if r.Account != nil {
		account = r.Account(c.Claim.KeyID)
	}
	d := &reader{Call: c, name: name, prefix: "arn:aws:dynamodb:" + r.Region + ":" + account + ":", account: account, schemas: schemas}
	c.Checks = []call.Check{{Action: "dynamodb:" + name, Resource: "*"}}
	c.Whole(maxBody, func(body []byte) *call.Error {
		o, e := call.ParseJSON(body)
		if e != nil {
			return e
		}
		c.Checks = nil
		d.keep(o)
		v, e := o.String("ReturnConsumedCapacity")
		if e != nil {
			return e
		}
		c.Set("dynamodb:ReturnConsumedCapacity", v)
		return op(d, o)
	})
	return c, nil
}

// reader makes the call of one request.
type reader struct {
	*call.Call
	name    string // of the operation
	prefix  string // of ARNs: arn:aws:dynamodb:region:account:
	account string
	schemas *Schemas
}

var (
	tableName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,255}$`)
	tableARN  = regexp.MustCompile(`^arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[a-zA-Z0-9_.-]{1,255}$`)
	anyARN    = regexp.MustCompile(`^arn:aws[a-z-]*:dynamodb:[a-z0-9-]*:[0-9]{12}:[a-zA-Z0-9_./:-]{1,512}$`)
)

func invalid(format string, args ...any) *call.Error {
	return call.Refuse("ValidationException", format, args...)
}

// table is the ARN of a table or, with an index, of that. A table is named by its
// name or its ARN.
func (d *reader) table(name, index string) (string, *call.Error) {
	arn := name
	switch {
	case tableName.MatchString(name):
		arn = d.prefix + "table/" + name
	case !tableARN.MatchString(name):
		return "", invalid("Invalid table name %q.", call.Cut(name, 255))
	}
	if index == "" {
		return arn, nil
	}
	if !tableName.MatchString(index) {
		return "", invalid("Invalid index name %q.", call.Cut(index, 255))
	}
	return arn + "/index/" + index, nil
}

// operation fills in a call from a request's body.
type operation func(*reader, call.Object) *call.Error

// none is an operation on no resource.
func none(d *reader, _ call.Object) *call.Error {
	d.Add("dynamodb:"+d.name, "*")
	return nil
}

// onTable is an operation on the table that a member names.
func onTable(member string, more ...string) operation {
	return func(d *reader, o call.Object) *call.Error {
		name, e := o.String(member)
		if e != nil {
			return e
		}
		index, e := o.String("IndexName")
		if e != nil {
			return e
		}
		if d.name != "DescribeContributorInsights" && d.name != "UpdateContributorInsights" {
			index = ""
		}
		arn, e := d.table(name, index)
		if e != nil {
			return e
		}
		d.Add("dynamodb:"+d.name, arn)
		for _, action := range more {
			d.Add("dynamodb:"+action, arn)
		}
		return nil
	}
}

// onARN is an operation on what a member names by its ARN.
func onARN(member string) operation {
	return func(d *reader, o call.Object) *call.Error {
		arn, e := o.String(member)
		if e != nil {
			return e
		}
		if !anyARN.MatchString(arn) {
			return invalid("Invalid %s.", member)
		}
		d.Add("dynamodb:"+d.name, arn)
		return d.tags(o)
	}
}

// onGlobalTable is an operation on a global table of the first version.
func onGlobalTable(d *reader, o call.Object) *call.Error {
	name, e := o.String("GlobalTableName")
	if e != nil {
		return e
	}
	arn, e := d.table(name, "")
	if e != nil || tableARN.MatchString(name) {
		return invalid("Invalid table name.")
	}
	d.Add("dynamodb:"+d.name, "arn:aws:dynamodb::"+d.account+":global-table/"+name)
	if d.name == "CreateGlobalTable" || strings.HasPrefix(d.name, "Update") {
		d.Add("dynamodb:"+d.name, arn)
	}
	return nil
}

// tags reads the tags a request gives.
func (d *reader) tags(o call.Object) *call.Error {
	tags, e := o.Objects("Tags")
	if e != nil {
		return e
	}
	for _, t := range tags {
		key, e := t.String("Key")
		if e != nil {
			return e
		}
		value, e := t.String("Value")
		if e != nil {
			return e
		}
		if e := d.SetTags(key, value); e != nil {
			return e
		}
	}
	keys, e := o.Strings("TagKeys")
	d.Context["aws:TagKeys"] = append(d.Context["aws:TagKeys"], keys...)
	return e
}

func createTable(d *reader, o call.Object) *call.Error {
	if e := onTable("TableName")(d, o); e != nil {
		return e
	}
	if source, e := o.String("GlobalTableSourceArn"); e != nil {
		return e
	} else if source != "" {
		d.MakeUnknown("dynamodb", "no action is known for joining a global table of another account")
		return nil
	}
	arn := d.Checks[0].Resource
	if policy, e := o.String("ResourcePolicy"); e != nil {
		return e
	} else if policy != "" {
		d.Add("dynamodb:PutResourcePolicy", arn)
	}
	if list, e := o.List("Tags"); e != nil {
		return e
	} else if len(list) > 0 {
		d.Add("dynamodb:TagResource", arn)
	}
	return d.tags(o)
}

func updateTable(d *reader, o call.Object) *call.Error {
	if e := onTable("TableName")(d, o); e != nil {
		return e
	}
	for list, what := range map[string]string{"ReplicaUpdates": "TableReplica", "GlobalTableWitnessUpdates": "GlobalTableWitness"} {
		updates, e := o.Objects(list)
		if e != nil {
			return e
		}
		for _, u := range updates {
			for _, verb := range []string{"Create", "Delete"} {
				x, e := u.Object(verb)
				if e != nil {
					return e
				}
				if x != nil {
					d.Add("dynamodb:"+verb+what, d.Checks[0].Resource)
				}
			}
		}
	}
	return nil
}

// restoring a table also writes it.
var restoreActions = []string{"BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Query", "Scan", "UpdateItem"}

func restoreFromBackup(d *reader, o call.Object) *call.Error {
	if e := onTable("TargetTableName", restoreActions...)(d, o); e != nil {
		return e
	}
	return onARN("BackupArn")(d, o)
}

func restoreToPointInTime(d *reader, o call.Object) *call.Error {
	if e := onTable("TargetTableName", restoreActions...)(d, o); e != nil {
		return e
	}
	arn, e := o.String("SourceTableArn")
	if e != nil {
		return e
	}
	name, e := o.String("SourceTableName")
	if e != nil {
		return e
	}
	if arn != "" && name != "" {
		return invalid("The source is named by its name or by its ARN.")
	}
	source, e := d.table(arn+name, "")
	if e != nil {
		return e
	}
	d.Add("dynamodb:"+d.name, source)
	return nil
}

func importTable(d *reader, o call.Object) *call.Error {
	params, e := o.Object("TableCreationParameters")
	if e != nil {
		return e
	}
	return onTable("TableName")(d, params)
}

// item is an operation on one item.
func item(d *reader, o call.Object) *call.Error {
	name, e := o.String("TableName")
	if e != nil {
		return e
	}
	arn, e := d.table(name, "")
	if e != nil {
		return e
	}
	r, e := readItem(o)
	if e != nil {
		return e
	}
	if d.name == "GetItem" {
		r.selects()
	}
	returns, e := o.String("ReturnValues")
	if e != nil {
		return e
	}
	d.Set("dynamodb:ReturnValues", returns)
	if e := d.addItems("dynamodb:"+d.name, arn, []*reading{r}); e != nil {
		return e
	}
	return d.tooMany()
}

// search is Query or Scan.
func search(d *reader, o call.Object) *call.Error {
	name, e := o.String("TableName")
	if e != nil {
		return e
	}
	index, e := o.String("IndexName")
	if e != nil {
		return e
	}
	arn, e := d.table(name, index)
	if e != nil {
		return e
	}
	r, e := readItem(o)
	if e != nil {
		return e
	}
	r.values = nil // neither looks for an item by its key
	r.selects()
	how, e := o.String("Select")
	if e != nil {
		return e
	}
	if how == "" && !r.projected && index != "" {
		how = "ALL_PROJECTED_ATTRIBUTES"
	}
	if how != "" {
		r.selected = how
	}
	if d.name == "Query" {
		if e := r.keyConditions(o); e != nil {
			return e
		}
	}
	if e := d.addItems("dynamodb:"+d.name, arn, []*reading{r}); e != nil {
		return e
	}
	return d.tooMany()
}

// batchGet is BatchGetItem: one decision for each table.
func batchGet(d *reader, o call.Object) *call.Error {
	tables, e := o.Object("RequestItems")
	if e != nil {
		return e
	}
	return d.eachTable(tables, func(table string) ([]*reading, *call.Error) {
		t, e := tables.Object(table)
		if e != nil {
			return nil, e
		}
		keys, e := t.Objects("Keys")
		if e != nil {
			return nil, e
		}
		shared, e := readItem(t)
		if e != nil {
			return nil, e
		}
		shared.selects()
		out := []*reading{shared}
		for _, k := range keys {
			r := &reading{}
			if e := r.key(k); e != nil {
				return nil, e
			}
			out = append(out, r)
		}
		return out, nil
	})
}

// batchWrite is BatchWriteItem: one decision for each table.
func batchWrite(d *reader, o call.Object) *call.Error {
	tables, e := o.Object("RequestItems")
	if e != nil {
		return e
	}
	return d.eachTable(tables, func(table string) ([]*reading, *call.Error) {
		writes, e := tables.Objects(table)
		if e != nil {
			return nil, e
		}
		var out []*reading
		for _, w := range writes {
			r := &reading{}
			for member, read := range map[string]func(call.Object) *call.Error{"PutRequest": r.item, "DeleteRequest": r.keyOf} {
				x, e := w.Object(member)
				if e != nil {
					return nil, e
				}
				if x == nil {
					continue
				}
				if e := read(x); e != nil {
					return nil, e
				}
			}
			out = append(out, r)
		}
		return out, nil
	})
}

// eachTable adds the checks of every table of a batch. A table's name and its ARN
// are two names of one table, and two decisions.
func (d *reader) eachTable(tables call.Object, read func(table string) ([]*reading, *call.Error)) *call.Error {
	names, ok := tables.Keys()
	if !ok || len(names) == 0 {
		return invalid("The request names no table.")
	}
	for _, name := range names {
		arn, e := d.table(name, "")
		if e != nil {
			return e
		}
		items, e := read(name)
		if e != nil {
			return e
		}
		if e := d.addItems("dynamodb:"+d.name, arn, items); e != nil {
			return e
		}
	}
	return d.tooMany()
}

// transactMembers are what an item of a transaction may be, and its action.
var transactMembers = map[string]string{
	"Get": "GetItem", "Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem",
}

// transact is TransactGetItems or TransactWriteItems: one decision for each table
// and action in it.
func transact(d *reader, o call.Object) *call.Error {
	items, e := o.Objects("TransactItems")
	if e != nil {
		return e
	}
	type key struct{ action, arn string }
	var order []key
	found := map[key][]*reading{}
	for _, it := range items {
		n := 0
		for member, action := range transactMembers {
			x, e := it.Object(member)
			if e != nil {
				return e
			}
			if x == nil {
				continue
			}
			if n++; n > 1 || (action == "GetItem") != (d.name == "TransactGetItems") {
				return invalid("TransactItems can only contain one of Check, Put, Update or Delete.")
			}
			name, e := x.String("TableName")
			if e != nil {
				return e
			}
			arn, e := d.table(name, "")
			if e != nil {
				return e
			}
			r, e := readItem(x)
			if e != nil {
				return e
			}
			if action == "GetItem" {
				r.selects()
			}
			k := key{"dynamodb:" + action, arn}
			if found[k] == nil {
				order = append(order, k)
			}
			found[k] = append(found[k], r)
		}
		if n == 0 {
			return invalid("A transaction's item does nothing.")
		}
	}
	if len(order) == 0 {
		return invalid("The transaction is empty.")
	}
	d.Set("dynamodb:EnclosingOperation", d.name)
	for _, k := range order {
		if e := d.addItems(k.action, k.arn, found[k]); e != nil {
			return e
		}
	}
	return d.tooMany()
}

// maxChecks bounds the decisions of one request.
const maxChecks = 1000

func (d *reader) tooMany() *call.Error {
	if len(d.Checks) > maxChecks {
		return invalid("The request has more attributes than can be judged before the table's keys are known: call DescribeTable first.")
	}
	return nil
}

// addItems adds the checks of items of one table: one, or one for each attribute
// that could be the partition key, which can be read then.
func (d *reader) addItems(action, arn string, items []*reading) *call.Error {
	attributes := map[string]bool{}
	selected := map[string]bool{}
	for _, it := range items {
		for _, a := range it.attributes {
			attributes[a] = true
		}
		if it.selected != "" {
			selected[it.selected] = true
		}
	}
	ctx := func() map[string][]string {
		m := map[string][]string{}
		if len(attributes) > 0 {
			m["dynamodb:Attributes"] = sorted(attributes)
		}
		if len(selected) > 0 {
			m["dynamodb:Select"] = sorted(selected)
		}
		return m
	}
	names := d.leading(arn, items)
	if len(names) == 0 {
		d.Checks = append(d.Checks, call.Check{Action: action, Resource: arn, Context: ctx()})
	}
	for _, name := range names {
		values := map[string]bool{}
		for _, it := range items {
			if e := it.unreadable[name]; e != nil {
				return e
			}
			for _, v := range it.values[name] {
				values[v] = true
			}
		}
		m := ctx()
		if len(values) > 0 {
			m["dynamodb:LeadingKeys"] = sorted(values)
		}
		d.Checks = append(d.Checks, call.Check{Action: action, Resource: arn, Context: m})
		if len(d.Checks) > maxChecks {
			break
		}
	}
	return nil
}

// leading are the names of the attributes that may be the partition key: the one
// that is, if the table is known.
func (d *reader) leading(arn string, items []*reading) []string {
	if name, ok := d.schemas.partitionKey(arn); ok {
		there := true
		for _, it := range items {
			_, has := it.values[name]
			there = there && (has || it.values == nil)
		}
		if there {
			return []string{name}
		}
		// The table is another by now, or the request is wrong.
	}
	// The partition key is in every item.
	var names map[string]bool
	for _, it := range items {
		if it.values == nil {
			continue // what the items share
		}
		if names == nil {
			names = map[string]bool{}
			for n := range it.values {
				names[n] = true
			}
			continue
		}
		for n := range names {
			if _, ok := it.values[n]; !ok {
				delete(names, n)
			}
		}
	}
	return sorted(names)
}

func sorted(set map[string]bool) []string {
	out := make([]string, 0, len(set))
	for s := range set {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

// operations of the API.
var operations map[string]operation

func init() {
	operations = map[string]operation{
		"GetItem": item, "PutItem": item, "UpdateItem": item, "DeleteItem": item,
		"Query": search, "Scan": search,
		"BatchGetItem": batchGet, "BatchWriteItem": batchWrite,
		"TransactGetItems": transact, "TransactWriteItems": transact,
		"ExecuteStatement": executeStatement, "BatchExecuteStatement": batchExecute, "ExecuteTransaction": batchExecute,
		"CreateTable": createTable, "UpdateTable": updateTable,
		"RestoreTableFromBackup": restoreFromBackup, "RestoreTableToPointInTime": restoreToPointInTime,
		"ImportTable": importTable,
	}
	for _, name := range []string{
		"ListTables", "DescribeLimits", "DescribeEndpoints", "ListBackups", "ListContributorInsights", "ListExports",
		"ListGlobalTables", "ListImports",
	} {
		operations[name] = none
	}
	for _, name := range []string{
		"DeleteTable", "DescribeTable", "DescribeTimeToLive", "UpdateTimeToLive", "DescribeContinuousBackups",
		"UpdateContinuousBackups", "DescribeContributorInsights", "UpdateContributorInsights", "CreateBackup",
		"DescribeKinesisStreamingDestination", "DisableKinesisStreamingDestination", "EnableKinesisStreamingDestination",
		"UpdateKinesisStreamingDestination", "DescribeTableReplicaAutoScaling", "UpdateTableReplicaAutoScaling",
	} {
		operations[name] = onTable("TableName")
	}
	for name, member := range map[string]string{
		"DeleteBackup": "BackupArn", "DescribeBackup": "BackupArn", "DescribeExport": "ExportArn", "DescribeImport": "ImportArn",
		"ExportTableToPointInTime": "TableArn",
		"TagResource":              "ResourceArn", "UntagResource": "ResourceArn", "ListTagsOfResource": "ResourceArn",
		"GetResourcePolicy": "ResourceArn", "PutResourcePolicy": "ResourceArn", "DeleteResourcePolicy": "ResourceArn",
	} {
		operations[name] = onARN(member)
	}
	for _, name := range []string{
		"CreateGlobalTable", "DescribeGlobalTable", "UpdateGlobalTable", "DescribeGlobalTableSettings", "UpdateGlobalTableSettings",
	} {
		operations[name] = onGlobalTable
	}
}
