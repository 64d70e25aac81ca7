package collector

import (
	"os"
	"strings"
	"testing"
)

func TestTheRightsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../ACLS.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []right{describeCluster, describeTopic, describeGroup, describeConfigs} {
		command := r.acl("HOST:9092", "User:exporter")
		command = strings.NewReplacer("'User:exporter'", "User:exporter", "HOST:9092 --add", "HOST:9092 --command-config admin.properties --add").Replace(command)
		if n := strings.Count(string(doc), command+"\n"); n != 1 {
			t.Errorf("want the command %q in ACLS.md once, got it %d times", command, n)
		}
		if row := "| " + r.operation + " on " + r.resource + " |"; !strings.Contains(string(doc), row) {
			t.Errorf("want a row %q in ACLS.md", row)
		}
	}
	if n := strings.Count(string(doc), "kafka-acls.sh"); n != 4 {
		t.Errorf("want four commands, got %d", n)
	}
}
