# SPDX-License-Identifier: Apache-2.0

output "service_name" {
  description = "The name to give to whoever should use the service."
  value       = aws_vpc_endpoint_service.this.service_name
}

output "endpoint_names" {
  description = "The interface endpoint's names; they answer once its connection is accepted."
  value       = aws_vpc_endpoint.interface.dns_entry[*].dns_name
}

output "gateway_prefix_list" {
  description = "The prefix list that the route table leads to the gateway endpoint."
  value       = aws_vpc_endpoint.s3.prefix_list_id
}
