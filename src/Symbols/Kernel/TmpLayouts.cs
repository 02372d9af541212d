namespace KTrace.Symbols.Dwarf; using KTrace.Symbols.Types; using KTrace.Symbols.Elf;
public sealed class StructLayouts(ElfFile f) : IStructLayouts { public bool TryFindMember(string s, string m, out MemberLocation l){ l=default; return f is null;} public bool TryGetSize(string s, out int z){z=0;return false;} }
