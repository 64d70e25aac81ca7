package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
)

func TestCodesNameErrorsAsKafkaDoes(t *testing.T) {
	for want, err := range map[string]error{
		"UNKNOWN_SERVER_ERROR":       sarama.ErrUnknown,
		"NOT_LEADER_OR_FOLLOWER":     sarama.ErrNotLeaderForPartition,
		"TOPIC_AUTHORIZATION_FAILED": fmt.Errorf("create topic: %w", &sarama.TopicError{Err: sarama.ErrTopicAuthorizationFailed}),
		"GROUP_ID_NOT_FOUND":         sarama.ErrGroupIDNotFound,
		"PRODUCER_FENCED":            sarama.ErrProducerFenced,
		"INVALID_UPDATE_VERSION":     sarama.ErrInvalidUpdateVersion,
		"UNKNOWN_TOPIC_ID":           sarama.KError(100),
		"STALE_MEMBER_EPOCH":         sarama.KError(113),
		"1234":                       sarama.KError(1234),
		"-7":                         sarama.KError(-7),
		"timeout":                    &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded},
		"canceled":                   context.Canceled,
		"connection":                 fmt.Errorf("fetch: %w", io.EOF),
		"UNSUPPORTED_VERSION":        sarama.ErrUnsupportedVersion,
		"other":                      errors.New("?"),
	} {
		if got := kafka.Code(err); got != want {
			t.Errorf("%v: want %s, got %s", err, want, got)
		}
	}
}
