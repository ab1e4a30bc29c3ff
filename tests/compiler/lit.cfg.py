import lit.formats

config.name = "tilejit passes"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.test_exec_root = lit_config.params["output"]
config.substitutions.append((r"\btilejit\b", lit_config.params["tilejit"]))
config.substitutions.append((r"\bFileCheck\b", lit_config.params["filecheck"]))
