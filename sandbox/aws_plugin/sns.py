"""``sns.Topic``, ``sns.TopicPolicy`` and ``sns.TopicSubscription``."""

from __future__ import annotations

import json

from botocore.exceptions import ClientError
from typing_extensions import override

from sandbox.aws_plugin import tags
from sandbox.aws_plugin.errors import code
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.values import Properties

#: A topic has the code of the first, a resource to tag that of the second (SNS API reference).
GONE = ("NotFound", "ResourceNotFound")

#: ``Id`` of the policy that SNS gives a topic for which none was set.
DEFAULT_POLICY_ID = "__default_policy_ID"

#: Arguments of a topic and the attribute each is.
_ATTRIBUTES = {
    "displayName": "DisplayName",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "signatureVersion": "SignatureVersion",
}


class Topic(ResourceType):
    """A standard topic. moto keeps the signature version but never tells it, so Pulumi's state has to."""

    type_name = "aws:sns/topic:Topic"
    carried = frozenset({"displayName", "kmsMasterKeyId", "name", "signatureVersion", "tags"})
    replaces = frozenset({"name"})
    computed = frozenset({"signatureVersion"})
    remembered = frozenset({"signatureVersion"})
    made = frozenset({"arn", "owner", "tagsAll"})
    named_by = "name"

    @override
    def identify(self, aws: Aws, inputs: Properties) -> str:
        account = aws.identity()["accountId"]
        return f"arn:aws:sns:{self.region(aws, inputs)}:{account}:{inputs['name']}"

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        attributes = {
            attribute: str(inputs[name]) for name, attribute in _ATTRIBUTES.items() if inputs.get(name)
        }
        answer = aws.client("sns", self.region(aws, inputs)).create_topic(
            Name=inputs["name"], Attributes=attributes, Tags=tags.pairs(aws.all_tags(inputs.get("tags")))
        )
        return str(answer["TopicArn"])

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        region = resource_id.split(":")[3]
        sns = aws.client("sns", region)
        try:
            found = sns.get_topic_attributes(TopicArn=resource_id)["Attributes"]
            tag_list = sns.list_tags_for_resource(ResourceArn=resource_id)["Tags"]
        except ClientError as error:
            if code(error) in GONE:
                return None
            raise
        return {
            **self.remember(known),
            "name": resource_id.split(":")[5],
            "arn": resource_id,
            "owner": found["Owner"],
            "displayName": found.get("DisplayName") or None,
            "kmsMasterKeyId": found.get("KmsMasterKeyId") or None,
            "region": region,
            **tags.outputs(aws, tags.mapping(tag_list)),
        }

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        sns = aws.client("sns", self.region(aws, state))
        for name, attribute in _ATTRIBUTES.items():
            if (state.get(name) or None) != (inputs.get(name) or None):
                sns.set_topic_attributes(
                    TopicArn=resource_id,
                    AttributeName=attribute,
                    AttributeValue=str(inputs.get(name) or ("1" if name == "signatureVersion" else "")),
                )
        wanted = aws.all_tags(inputs.get("tags"))
        tags.change(sns.untag_resource, sns.tag_resource, state, wanted, ResourceArn=resource_id)

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        aws.client("sns", self.region(aws, state)).delete_topic(TopicArn=resource_id)


class TopicPolicy(ResourceType):
    """The policy of a topic; its id is the topic's ARN."""

    type_name = "aws:sns/topicPolicy:TopicPolicy"
    carried = frozenset({"arn", "policy"})
    replaces = frozenset({"arn"})
    made = frozenset({"owner"})

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        self._put(aws, inputs["arn"], inputs["policy"])
        return str(inputs["arn"])

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        region = resource_id.split(":")[3]
        try:
            found = aws.client("sns", region).get_topic_attributes(TopicArn=resource_id)["Attributes"]
        except ClientError as error:
            if code(error) in GONE:
                return None
            raise
        if json.loads(found["Policy"]).get("Id") == DEFAULT_POLICY_ID:
            return None
        return {"arn": resource_id, "policy": found["Policy"], "owner": found["Owner"], "region": region}

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        self._put(aws, resource_id, inputs["policy"])

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        """SNS has no way to remove a policy: the one of a new topic takes its place."""
        account = resource_id.split(":")[4]
        policy = {
            "Version": "2008-10-17",
            "Id": DEFAULT_POLICY_ID,
            "Statement": [
                {
                    "Sid": "__default_statement_ID",
                    "Effect": "Allow",
                    "Principal": {"AWS": "*"},
                    "Action": ["SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:Publish"],
                    "Resource": resource_id,
                    "Condition": {"StringEquals": {"AWS:SourceOwner": account}},
                }
            ],
        }
        try:
            self._put(aws, resource_id, json.dumps(policy))
        except ClientError as error:
            if code(error) not in GONE:
                raise

    @staticmethod
    def _put(aws: Aws, arn: str, policy: str) -> None:
        aws.client("sns", arn.split(":")[3]).set_topic_attributes(
            TopicArn=arn, AttributeName="Policy", AttributeValue=policy
        )


class TopicSubscription(ResourceType):
    """A subscription by email or https; moto confirms it at once and sends no mail."""

    type_name = "aws:sns/topicSubscription:TopicSubscription"
    carried = frozenset({"endpoint", "protocol", "topic"})
    replaces = carried
    made = frozenset({"arn", "confirmationWasAuthenticated", "ownerId", "pendingConfirmation"})

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        answer = aws.client("sns", self.region(aws, inputs)).subscribe(
            TopicArn=inputs["topic"],
            Protocol=inputs["protocol"],
            Endpoint=inputs["endpoint"],
            ReturnSubscriptionArn=True,
        )
        return str(answer["SubscriptionArn"])

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        region = resource_id.split(":")[3]
        try:
            found = aws.client("sns", region).get_subscription_attributes(SubscriptionArn=resource_id)
        except ClientError as error:
            if code(error) in GONE:
                return None
            raise
        attributes = found["Attributes"]
        return {
            "topic": attributes["TopicArn"],
            "protocol": attributes["Protocol"],
            "endpoint": attributes["Endpoint"],
            "arn": resource_id,
            "ownerId": attributes["Owner"],
            "pendingConfirmation": attributes["PendingConfirmation"] == "true",
            "confirmationWasAuthenticated": attributes["ConfirmationWasAuthenticated"] == "true",
            "region": region,
        }

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        """Nothing can change in place."""

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        aws.client("sns", self.region(aws, state)).unsubscribe(SubscriptionArn=resource_id)


SNS_ROWS: tuple[ResourceType, ...] = (Topic(), TopicPolicy(), TopicSubscription())
