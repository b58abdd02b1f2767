// SPDX-License-Identifier: Apache-2.0

package elbv2

import (
	"sort"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateListener", createListener)
	register("DescribeListeners", describeListeners)
	register("ModifyListener", modifyListener)
	register("DeleteListener", deleteListener)
	register("DescribeListenerAttributes", describeListenerAttributes)
	register("ModifyListenerAttributes", modifyListenerAttributes)
}

// Listener is <Listener>.
type Listener struct {
	Arn             string         `xml:"ListenerArn"`
	LoadBalancerArn string         `xml:"LoadBalancerArn"`
	Port            int            `xml:"Port"`
	Protocol        string         `xml:"Protocol"`
	DefaultActions  []ActionOutput `xml:"DefaultActions"`
}

// ActionOutput is <Action>: a forward to one target group.
type ActionOutput struct {
	Type           string              `xml:"Type"`
	TargetGroupArn string              `xml:"TargetGroupArn"`
	ForwardConfig  ForwardConfigOutput `xml:"ForwardConfig"`
}

// ForwardConfigOutput repeats the target group of an action.
type ForwardConfigOutput struct {
	TargetGroups []TargetGroupTuple `xml:"TargetGroups"`
}

// TargetGroupTuple is a target group of a forward.
type TargetGroupTuple struct {
	Arn string `xml:"TargetGroupArn"`
}

func renderListener(l *vpc.Listener) Listener {
	g := string(l.TargetGroup)
	return Listener{
		Arn: string(l.ARN), LoadBalancerArn: string(l.Balancer), Port: l.Port, Protocol: l.Protocol,
		DefaultActions: []ActionOutput{{Type: "forward", TargetGroupArn: g, ForwardConfig: ForwardConfigOutput{[]TargetGroupTuple{{g}}}}},
	}
}

// Action is an action in a request: a forward to one target group.
type Action struct {
	Type           string         `query:"Type,required,enum=forward"`
	TargetGroupArn string         `query:"TargetGroupArn"`
	ForwardConfig  *ForwardConfig `query:"ForwardConfig"`
	_              refused        `query:"Order,refuse,unless=1"`
	_              refused        `query:"AuthenticateOidcConfig,refuse"`
	_              refused        `query:"AuthenticateCognitoConfig,refuse"`
	_              refused        `query:"RedirectConfig,refuse"`
	_              refused        `query:"FixedResponseConfig,refuse"`
	_              refused        `query:"JwtValidationConfig,refuse"`
}

// ForwardConfig is a forward's configuration in a request.
type ForwardConfig struct {
	TargetGroups []WeightedGroup    `query:"TargetGroups"`
	Stickiness   *ForwardStickiness `query:"TargetGroupStickinessConfig"`
}

// WeightedGroup is a target group of a forward. There is one, so its weight
// decides nothing.
type WeightedGroup struct {
	Arn string  `query:"TargetGroupArn,required"`
	_   refused `query:"Weight,refuse,unless=1"`
}

// ForwardStickiness is target group stickiness, which one target group does not have.
type ForwardStickiness struct {
	_ refused `query:"Enabled,refuse,unless=false"`
	_ refused `query:"DurationSeconds,refuse"`
}

// forwardTo is the target group a listener's default actions forward to.
func forwardTo(actions []Action) (vpc.ARN, error) {
	if len(actions) != 1 {
		return "", vpc.Errorf(vpc.Limit, "actions", "", "A listener has exactly one default action, not %d", len(actions))
	}
	a := actions[0]
	arn := a.TargetGroupArn
	if a.ForwardConfig != nil && len(a.ForwardConfig.TargetGroups) > 0 {
		if len(a.ForwardConfig.TargetGroups) > 1 {
			return "", vpc.Errorf(vpc.Unsupported, "action", "", "A forward to more than one target group is not supported")
		}
		g := a.ForwardConfig.TargetGroups[0].Arn
		if arn != "" && arn != g {
			return "", vpc.Errorf(vpc.Invalid, "DefaultActions", "", "TargetGroupArn and ForwardConfig must name the same target group")
		}
		arn = g
	}
	if arn == "" {
		return "", vpc.Errorf(vpc.Missing, "TargetGroupArn", "", "A target group ARN must be specified for an action of type 'forward'")
	}
	return checkARN(vpc.KindTargetGroup, arn)
}

// checkProtocol takes a listener's protocol, and tells AWS's others from what
// is none.
func checkProtocol(p string) error {
	switch p {
	case "TCP", "UDP", "TCP_UDP":
		return nil
	case "HTTP", "HTTPS", "TLS", "GENEVE", "QUIC", "TCP_QUIC":
		return vpc.Errorf(vpc.Unsupported, "protocol", p, "The listener protocol '%s' is not supported; it must be one of TCP, UDP, TCP_UDP", p)
	}
	return vpc.Errorf(vpc.Invalid, "Protocol", p, "Listener protocol '%.32s' must be one of TCP, UDP, TCP_UDP", p)
}

// Secure are the parameters of listeners that terminate TLS, which there are none of.
type Secure struct {
	_ refused `query:"SslPolicy,refuse"`
	_ refused `query:"Certificates,refuse"`
	_ refused `query:"AlpnPolicy,refuse"`
	_ refused `query:"MutualAuthentication,refuse"`
}

// CreateListenerInput is the input of CreateListener.
type CreateListenerInput struct {
	BalancerInput
	Secure
	Protocol       string   `query:"Protocol,required"`
	Port           *int     `query:"Port,required"`
	DefaultActions []Action `query:"DefaultActions,required"`
	Tags           []Tag    `query:"Tags"`
}

// ListenersOutput is the output of the actions that answer listeners.
type ListenersOutput struct {
	Listeners []Listener `xml:"Listeners"`
}

// DescribeListenersOutput is the output of DescribeListeners.
type DescribeListenersOutput struct {
	ListenersOutput
	NextMarker string `xml:"NextMarker,omitempty"`
}

func createListener(call *Call, in *CreateListenerInput) (*ListenersOutput, error) {
	lb, err := find[vpc.LoadBalancer](call, call.View(), in.Arn)
	if err != nil {
		return nil, err
	}
	if err := checkProtocol(in.Protocol); err != nil {
		return nil, err
	}
	group, err := forwardTo(in.DefaultActions)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	arn, err := call.Control.CreateListener(call.Context, call.Caller, control.CreateListenerInput{
		Balancer: lb.ARN, Protocol: in.Protocol, Port: *in.Port, TargetGroup: group, Tags: tags,
	})
	if err != nil {
		return nil, err
	}
	return oneListener(call, string(arn))
}

func oneListener(call *Call, arn string) (*ListenersOutput, error) {
	l, err := find[vpc.Listener](call, call.View(), arn)
	if err != nil {
		return nil, err
	}
	return &ListenersOutput{Listeners: []Listener{renderListener(l)}}, nil
}

// DescribeListenersInput is the input of DescribeListeners: a load balancer or
// listeners.
type DescribeListenersInput struct {
	Page
	LoadBalancerArn string   `query:"LoadBalancerArn"`
	Arns            []string `query:"ListenerArns"`
}

func describeListeners(call *Call, in *DescribeListenersInput) (*DescribeListenersOutput, error) {
	v := call.View()
	var list []*vpc.Listener
	switch {
	case in.LoadBalancerArn != "" && len(in.Arns) > 0:
		return nil, vpc.Errorf(vpc.Invalid, "LoadBalancerArn", "", "You cannot specify both a load balancer ARN and listener ARNs")
	case in.LoadBalancerArn != "":
		lb, err := find[vpc.LoadBalancer](call, v, in.LoadBalancerArn)
		if err != nil {
			return nil, err
		}
		for l := range vpc.By[vpc.Listener](v, vpc.IndexBalancer, lb.ARN) {
			list = append(list, l)
		}
		sort.Slice(list, func(i, j int) bool { return list[i].ARN < list[j].ARN })
	case len(in.Arns) > 0:
		var err error
		if list, err = pick[vpc.Listener](call, v, in.Arns, nil); err != nil {
			return nil, err
		}
	default:
		return nil, vpc.Errorf(vpc.Missing, "LoadBalancerArn", "", "You must specify either listener ARNs or a load balancer ARN")
	}
	list, next, err := paginate(list, in.Page, (*vpc.Listener).Key)
	if err != nil {
		return nil, err
	}
	out := &DescribeListenersOutput{NextMarker: next}
	for _, l := range list {
		out.Listeners = append(out.Listeners, renderListener(l))
	}
	return out, nil
}

// ListenerInput is the input of the actions that take one listener.
type ListenerInput struct {
	Arn string `query:"ListenerArn,required"`
}

// ModifyListenerInput is the input of ModifyListener.
type ModifyListenerInput struct {
	ListenerInput
	Secure
	Protocol       string   `query:"Protocol"`
	Port           *int     `query:"Port"`
	DefaultActions []Action `query:"DefaultActions"`
}

func modifyListener(call *Call, in *ModifyListenerInput) (*ListenersOutput, error) {
	l, err := find[vpc.Listener](call, call.View(), in.Arn)
	if err != nil {
		return nil, err
	}
	if in.Protocol != "" {
		if err := checkProtocol(in.Protocol); err != nil {
			return nil, err
		}
	}
	change := control.ModifyListenerInput{Protocol: in.Protocol}
	if in.Port != nil {
		if *in.Port < 1 || *in.Port > 65535 {
			return nil, vpc.Errorf(vpc.Invalid, "Port", "", "Port '%d' must be from 1 to 65535", *in.Port)
		}
		change.Port = *in.Port
	}
	if len(in.DefaultActions) > 0 {
		if change.TargetGroup, err = forwardTo(in.DefaultActions); err != nil {
			return nil, err
		}
	}
	if err := call.Control.ModifyListener(call.Context, call.Caller, l.ARN, change); err != nil {
		return nil, err
	}
	return oneListener(call, in.Arn)
}

func deleteListener(call *Call, in *ListenerInput) (*void, error) {
	l, err := find[vpc.Listener](call, call.View(), in.Arn)
	if err != nil {
		return nil, err
	}
	return &void{}, call.Control.DeleteListener(call.Context, call.Caller, l.ARN)
}

func describeListenerAttributes(call *Call, in *ListenerInput) (*AttributesOutput, error) {
	l, err := find[vpc.Listener](call, call.View(), in.Arn)
	if err != nil {
		return nil, err
	}
	return renderAttributes(control.ListenerAttributes.Describe(l, l.Attributes)), nil
}

// ModifyListenerAttributesInput is the input of ModifyListenerAttributes.
type ModifyListenerAttributesInput struct {
	ListenerInput
	Attributes []Attribute `query:"Attributes,required"`
}

func modifyListenerAttributes(call *Call, in *ModifyListenerAttributesInput) (*AttributesOutput, error) {
	l, err := find[vpc.Listener](call, call.View(), in.Arn)
	if err != nil {
		return nil, err
	}
	set, err := attributesOf(in.Attributes)
	if err != nil {
		return nil, err
	}
	if err := call.Control.SetListenerAttributes(call.Context, call.Caller, l.ARN, set); err != nil {
		return nil, err
	}
	return describeListenerAttributes(call, &in.ListenerInput)
}
