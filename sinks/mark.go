package sinks

import "hash/crc32"

// A Mark is where a file of rows is durable and counted: its length, and the CRC-32C of the last bytes before,
// by which the file is known again.
type Mark struct {
	Size int64  `json:"size"`           // everything before is counted
	Tail int64  `json:"tail,omitempty"` // length of the last batch
	CRC  uint32 `json:"crc,omitempty"`  // of the last Tail bytes
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
