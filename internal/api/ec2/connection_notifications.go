// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateVpcEndpointConnectionNotification", true, createConnectionNotification)
	register("ModifyVpcEndpointConnectionNotification", true, modifyConnectionNotification)
	register("DeleteVpcEndpointConnectionNotifications", true, deleteConnectionNotifications)
	register("DescribeVpcEndpointConnectionNotifications", false, describeConnectionNotifications)

	// AWS has one code for an id, whatever is wrong with it.
	notFound[string(vpc.KindNotification)] = "InvalidConnectionNotification"
	malformed[string(vpc.KindNotification)] = "InvalidConnectionNotification"
}

// CreateVpcEndpointConnectionNotificationInput is the input of CreateVpcEndpointConnectionNotification.
type CreateVpcEndpointConnectionNotificationInput struct {
	DryRun
	ServiceID                 string   `query:"ServiceId"`
	VpcEndpointID             string   `query:"VpcEndpointId"`
	ConnectionNotificationARN string   `query:"ConnectionNotificationArn,required"`
	ConnectionEvents          []string `query:"ConnectionEvents,required"`
	ClientToken               string   `query:"ClientToken"`
}

// CreateVpcEndpointConnectionNotificationOutput is the output of CreateVpcEndpointConnectionNotification.
type CreateVpcEndpointConnectionNotificationOutput struct {
	ConnectionNotification ConnectionNotification `xml:"connectionNotification"`
	ClientToken            string                 `xml:"clientToken,omitempty"`
}

// ConnectionNotification is <ConnectionNotification>.
type ConnectionNotification struct {
	ConnectionNotificationID    string   `xml:"connectionNotificationId"`
	ServiceID                   string   `xml:"serviceId,omitempty"`
	VpcEndpointID               string   `xml:"vpcEndpointId,omitempty"`
	ConnectionNotificationType  string   `xml:"connectionNotificationType"`
	ConnectionNotificationARN   string   `xml:"connectionNotificationArn"`
	ConnectionEvents            []string `xml:"connectionEvents"`
	ConnectionNotificationState string   `xml:"connectionNotificationState"`
	ServiceRegion               string   `xml:"serviceRegion"`
}

// notificationTopic is the type of every notification.
const notificationTopic = "Topic"

func createConnectionNotification(call *Call, in *CreateVpcEndpointConnectionNotificationInput) (*CreateVpcEndpointConnectionNotificationOutput, error) {
	if in.ServiceID != "" {
		if err := checkID(vpc.KindService, vpc.PrefixService, in.ServiceID); err != nil {
			return nil, err
		}
	}
	if in.VpcEndpointID != "" {
		if err := checkID(vpc.KindEndpoint, vpc.PrefixEndpoint, in.VpcEndpointID); err != nil {
			return nil, err
		}
	}
	n, err := call.Control.CreateNotification(call.Context, call.Caller, control.CreateNotificationInput{
		Service: vpc.ServiceID(in.ServiceID), Endpoint: vpc.EndpointID(in.VpcEndpointID),
		Topic: vpc.ARN(in.ConnectionNotificationARN), Events: connectionEvents(in.ConnectionEvents), ClientToken: in.ClientToken,
	})
	if err != nil {
		return nil, err
	}
	return &CreateVpcEndpointConnectionNotificationOutput{renderNotification(call.View(), n), in.ClientToken}, nil
}

func connectionEvents(list []string) []vpc.ConnectionEvent {
	var out []vpc.ConnectionEvent
	for _, e := range list {
		out = append(out, vpc.ConnectionEvent(e))
	}
	return out
}

// ModifyVpcEndpointConnectionNotificationInput is the input of ModifyVpcEndpointConnectionNotification.
type ModifyVpcEndpointConnectionNotificationInput struct {
	DryRun
	ConnectionNotificationID  string   `query:"ConnectionNotificationId,required"`
	ConnectionNotificationARN string   `query:"ConnectionNotificationArn"`
	ConnectionEvents          []string `query:"ConnectionEvents"`
}

func modifyConnectionNotification(call *Call, in *ModifyVpcEndpointConnectionNotificationInput) (*void, error) {
	if err := checkID(vpc.KindNotification, vpc.PrefixNotification, in.ConnectionNotificationID); err != nil {
		return nil, err
	}
	err := call.Control.ModifyNotification(call.Context, call.Caller, control.ModifyNotificationInput{
		ID: vpc.NotificationID(in.ConnectionNotificationID), Topic: vpc.ARN(in.ConnectionNotificationARN),
		Events: connectionEvents(in.ConnectionEvents),
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

// DeleteVpcEndpointConnectionNotificationsInput is the input of DeleteVpcEndpointConnectionNotifications.
type DeleteVpcEndpointConnectionNotificationsInput struct {
	DryRun
	ConnectionNotificationIDs []string `query:"ConnectionNotificationId,required"`
}

func deleteConnectionNotifications(call *Call, in *DeleteVpcEndpointConnectionNotificationsInput) (*UnsuccessfulOutput, error) {
	ids, err := checkIDs[vpc.NotificationID](vpc.KindNotification, vpc.PrefixNotification, in.ConnectionNotificationIDs)
	if err != nil {
		return nil, err
	}
	failed, err := call.Control.DeleteNotifications(call.Context, call.Caller, ids)
	if err != nil {
		return nil, err
	}
	return unsuccessful("DeleteVpcEndpointConnectionNotifications", failed), nil
}

// DescribeVpcEndpointConnectionNotificationsInput is the input of DescribeVpcEndpointConnectionNotifications.
type DescribeVpcEndpointConnectionNotificationsInput struct {
	DryRun
	Page
	ConnectionNotificationID string   `query:"ConnectionNotificationId"`
	Filters                  []Filter `query:"Filter"`
}

// DescribeVpcEndpointConnectionNotificationsOutput is the output of DescribeVpcEndpointConnectionNotifications.
type DescribeVpcEndpointConnectionNotificationsOutput struct {
	ConnectionNotifications []ConnectionNotification `xml:"connectionNotificationSet"`
	NextToken               string                   `xml:"nextToken,omitempty"`
}

var notificationResource = resource[*vpc.ConnectionNotification]{
	prefix: vpc.PrefixNotification,
	filters: filterSet[*vpc.ConnectionNotification]{
		"connection-notification-arn":   func(_ vpc.View, n *vpc.ConnectionNotification) []string { return []string{string(n.Topic)} },
		"connection-notification-id":    func(_ vpc.View, n *vpc.ConnectionNotification) []string { return []string{string(n.ID)} },
		"connection-notification-state": func(_ vpc.View, n *vpc.ConnectionNotification) []string { return []string{string(n.State)} },
		"connection-notification-type":  func(vpc.View, *vpc.ConnectionNotification) []string { return []string{notificationTopic} },
		"service-id":                    func(_ vpc.View, n *vpc.ConnectionNotification) []string { return []string{string(n.Service)} },
		"vpc-endpoint-id":               func(_ vpc.View, n *vpc.ConnectionNotification) []string { return []string{string(n.Endpoint)} },
	},
}

func describeConnectionNotifications(call *Call, in *DescribeVpcEndpointConnectionNotificationsInput) (*DescribeVpcEndpointConnectionNotificationsOutput, error) {
	v := call.View()
	var ids []string
	if in.ConnectionNotificationID != "" {
		ids = []string{in.ConnectionNotificationID}
	}
	get := func(id string) (*vpc.ConnectionNotification, error) {
		return control.OwnedNotification(v, call.Caller, vpc.NotificationID(id))
	}
	list, next, err := describe(call, v, notificationResource, ids, in.Filters, in.Page, get, control.Notifications(v, call.Caller))
	if err != nil {
		return nil, err
	}
	out := &DescribeVpcEndpointConnectionNotificationsOutput{NextToken: next}
	for _, n := range list {
		out.ConnectionNotifications = append(out.ConnectionNotifications, renderNotification(v, n))
	}
	return out, nil
}

func renderNotification(v vpc.View, n *vpc.ConnectionNotification) ConnectionNotification {
	return ConnectionNotification{
		ConnectionNotificationID: string(n.ID), ServiceID: string(n.Service), VpcEndpointID: string(n.Endpoint),
		ConnectionNotificationType: notificationTopic, ConnectionNotificationARN: string(n.Topic),
		ConnectionEvents: texts(n.Events), ConnectionNotificationState: string(n.State), ServiceRegion: control.RegionOf(v).Name,
	}
}
