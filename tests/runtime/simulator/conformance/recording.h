// recording.h - the outputs of all cases on one device, kept in a file, and their comparison with another one's.
//
// A file is lines and raw bytes. First what was recorded, a line each:
//
//   tilejit conformance 1
//   device NVIDIA H100 80GB HBM3        the device's name
//   driver 12.8                         the newest CUDA that its driver knows
//   target sm_90a                       what the cases were compiled for
//   date 2026-11-25
//
// then for each case, in any order, one of
//
//   case ran FINGERPRINT BYTES NAME       and BYTES bytes, the outputs of its launches, and a newline
//   case refused FINGERPRINT BYTES NAME   and BYTES bytes of text, why it did not run, and a newline
//   case same FINGERPRINT DIGEST NAME     the outputs were those of the simulator; 16 digits over them
//
// and the same with `map` for the tensor maps of driver_maps.h, which have 128 bytes.
//
// FINGERPRINT is 16 hexadecimal digits over all that the case gives to the device: where it differs, the case was
// changed since, and the recording says nothing about it.
#pragma once
#include "tests/runtime/simulator/conformance/case.h"

#include <iosfwd>
#include <map>

namespace tilejit::conformance {

struct Recording {
  struct Entry {
    uint64_t fingerprint = 0;
    bool refused = false;
    std::vector<std::byte> bytes = {};             ///< outputs, or the message
    std::optional<uint64_t> digest = std::nullopt; ///< in place of outputs
  };
  std::string device, driver, target, date;
  std::map<std::string, Entry> entries; ///< by the case's name
  std::map<std::string, Entry> maps;    ///< by the tensor map's name
};

uint64_t fingerprint(const Case& c);

void write_header(std::ostream& to, const Recording& recording); ///< what comes before the entries
/// `kind`: "case" or "map".
void write_entry(std::ostream& to, const std::string& kind, const std::string& name, const Recording::Entry& entry);
void write_recording(const std::string& path, const Recording& recording);
/// Throws runtime::Error that names the file.
Recording read_recording(const std::string& path);

/// Runs the case as the recorder does, with few inputs.
Recording::Entry record_case(runtime::Device& device, const Case& c);

/// Keeps of outputs that are the simulator's own only a digest: what is left says what a GPU does otherwise.
void condense(Recording& recording, runtime::Device& simulator);

/// A simulator for these: with exact products.
std::shared_ptr<runtime::Device> replaying_simulator(const std::string& target);

/// How a recording and the simulator compare. Where the definition leaves one answer both must give it; where it allows
/// several, or an error, both must be within.
struct Replay {
  size_t cases = 0, identical = 0; ///< compared; equal in every byte
  size_t refused = 0, changed = 0; ///< not run by the recorded device; changed since
  size_t maps = 0;                 ///< tensor maps compared
  std::vector<std::string> wrong;  ///< the case, and what it was
};
Replay replay(const Recording& recording, runtime::Device& simulator);

} // namespace tilejit::conformance
