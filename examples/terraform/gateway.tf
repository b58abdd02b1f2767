# SPDX-License-Identifier: Apache-2.0
# The consumer's way to S3: a gateway endpoint that lets through one bucket.

resource "aws_route_table" "private" {
  provider = aws.consumer
  vpc_id   = aws_vpc.consumer.id
  tags     = { Name = "example-gateway" }
}

resource "aws_route_table_association" "private" {
  provider       = aws.consumer
  count          = length(local.zones)
  route_table_id = aws_route_table.private.id
  subnet_id      = aws_subnet.consumer[count.index].id
}

resource "aws_vpc_endpoint" "s3" {
  provider          = aws.consumer
  vpc_endpoint_type = "Gateway"
  vpc_id            = aws_vpc.consumer.id
  service_name      = "com.amazonaws.${var.region}.s3"
  route_table_ids   = [aws_route_table.private.id]
  tags              = { Name = "example-gateway" }

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = "*"
      Action    = "s3:*"
      Resource  = ["arn:aws:s3:::${var.bucket}", "arn:aws:s3:::${var.bucket}/*"]
    }]
  })
}
