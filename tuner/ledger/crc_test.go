package ledger_test

import (
	"fmt"
	"hash/crc32"
)

func checksum(text string) string {
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
}
