# SPDX-License-Identifier: Apache-2.0

variable "endpoint" {
  description = "Where Postern's API is; empty for AWS."
  type        = string
  default     = "http://127.0.0.1:8420"
}

variable "region" {
  description = "The region: Postern's own, or one of AWS's."
  type        = string
  default     = "us-east-1"
}

variable "provider_profile" {
  description = "The profile in ~/.aws of the account that offers the service."
  type        = string
  default     = "provider"
}

variable "consumer_profile" {
  description = "The profile in ~/.aws of the account that uses it."
  type        = string
  default     = "consumer"
}

variable "bucket" {
  description = "The one bucket that the gateway endpoint lets through."
  type        = string
  default     = "example-bucket"
}
