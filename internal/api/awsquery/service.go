// SPDX-License-Identifier: Apache-2.0

package awsquery

// Dialect is one of the protocols. Package awsjson turns the parameters of JSON
// into those of Query.
type Dialect uint8

// The dialects.
const (
	// EC2 is the EC2 Query protocol: flat lists, item elements.
	EC2 Dialect = iota + 1
	// Query is the AWS Query protocol: member lists, entry maps.
	Query
	// REST is REST with XML bodies: every list names its elements.
	REST
	// JSON is the AWS JSON protocol: parameters are named as in Query, answers
	// are JSON.
	JSON
)

// String returns ec2, query, rest or json.
func (d Dialect) String() string {
	switch d {
	case EC2:
		return "ec2"
	case Query:
		return "query"
	case REST:
		return "rest"
	case JSON:
		return "json"
	}
	return "unknown dialect"
}

// element is the name of a list's children in answers.
func (d Dialect) element() string {
	if d == EC2 {
		return "item"
	}
	return "member"
}

// Service is what the protocol needs to know of one AWS service.
type Service struct {
	// Name is the service's name in a credential scope.
	Name string
	// Version is the value of the Version parameter; with JSON there is none, and
	// it is only the API's.
	Version string
	// Namespace is the XML namespace of answers; with JSON what X-Amz-Target
	// begins with.
	Namespace string
	Dialect   Dialect
}

// The services whose names and namespaces are known here.
var (
	ServiceEC2   = Service{Name: "ec2", Version: "2016-11-15", Namespace: "http://ec2.amazonaws.com/doc/2016-11-15/", Dialect: EC2}
	ServiceELBv2 = Service{Name: "elasticloadbalancing", Version: "2015-12-01", Namespace: "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/", Dialect: Query}
	ServiceIAM   = Service{Name: "iam", Version: "2010-05-08", Namespace: "https://iam.amazonaws.com/doc/2010-05-08/", Dialect: Query}
	// ServiceRoute53 has its version in every path.
	ServiceRoute53         = Service{Name: "route53", Version: "2013-04-01", Namespace: "https://route53.amazonaws.com/doc/2013-04-01/", Dialect: REST}
	ServiceSTS             = Service{Name: "sts", Version: "2011-06-15", Namespace: "https://sts.amazonaws.com/doc/2011-06-15/", Dialect: Query}
	ServiceRoute53Resolver = Service{Name: "route53resolver", Version: "2018-04-01", Namespace: "Route53Resolver", Dialect: JSON}
	ServiceSNS             = Service{Name: "sns", Version: "2010-03-31", Namespace: "http://sns.amazonaws.com/doc/2010-03-31/", Dialect: Query}
)
