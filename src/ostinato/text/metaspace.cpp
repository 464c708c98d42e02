#include "ostinato/text/metaspace.h"

namespace ostinato::text {

MetaspaceOptions::MetaspaceOptions(JsonPart& part)
    : replacement(part.character("replacement")), split(part.boolean("split", true)) {
  if (part.find("prepend_scheme")) {
    scheme =
        static_cast<PrependScheme>(part.choice("prepend_scheme", {"first", "never", "always"}));
  }
  part.find("str_rep");                           // older files repeat `replacement` here
  if (!part.boolean("add_prefix_space", true)) {  // older files have this for the scheme `never`
    if (part.find("prepend_scheme") && scheme != PrependScheme::never) {
      part.refuse("prepend_scheme", "\"never\" beside add_prefix_space false",
                  part.require("prepend_scheme"));
    }
    scheme = PrependScheme::never;
  }
}

}  // namespace ostinato::text
