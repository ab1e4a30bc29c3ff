// words.h - from the text of a PTX word to its meaning; the other way is in ast.h. The words are listed in words.def.
#pragma once
#include "runtime/simulator/ast.h"

#include <optional>
#include <string_view>

namespace tilejit::runtime::simulator {

Type find_type(std::string_view text);                      ///< "b32"; Type::none for anything else
Mod find_mod(std::string_view text);                        ///< "ftz"; Mod::unknown for anything else
std::optional<Special> find_special(std::string_view text); ///< "%tid"
uint32_t components_of(Special special);                    ///< 3 for %tid, 0 for a scalar
std::optional<Space> space_of(Mod mod);
/// "m16n8k16" or "m8n8"; false for anything else.
bool parse_shape(std::string_view word, Shape& shape);

} // namespace tilejit::runtime::simulator
