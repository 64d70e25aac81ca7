package kafkatest

import (
	"os"
	"testing"
)

// archiveVar names a file with Java's archive of Kafka's classes (AppCDS), made by MakeArchive. With it a node starts in half the time: Java need not
// read them from a hundred jars and check them. One that is of another Java or of other jars is left alone by Java.
const archiveVar = "KAFKATEST_ARCHIVE"

// MakeArchive makes the archive for the test programs that find its name in KAFKATEST_ARCHIVE. It takes a start and a stop of a node.
func MakeArchive(t testing.TB, name string) {
	t.Helper()
	b := Start(t, Env(map[string]string{"KAFKA_OPTS": "-XX:ArchiveClassesAtExit=" + name + ".new"}))
	b.Stop(t)
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatalf("make archive of Kafka's classes: %v; Kafka's log ends with:\n%s", err, b.Log(20))
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return name != "" && err == nil
}
