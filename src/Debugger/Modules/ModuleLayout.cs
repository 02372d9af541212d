// struct module (include/linux/module.h) and struct module_sect_attrs (kernel/module/sysfs.c; before 6.1 kernel/module.c).
// The text lies at module_core (to 4.4), core_layout.base (4.5 to 6.3), mem[MOD_TEXT].base (since 6.4).
// Section attributes: { name, address } with the name behind battr.attr.name (since 5.8), name (since 4.x) or bin_attribute's private (since 6.14).
using KTrace.Symbols.Types;

namespace KTrace.Debugger.Modules;

/// <summary>Where this kernel keeps what KTrace reads of a module that is being loaded. Offsets in bytes from struct module.</summary>
internal sealed record ModuleLayout(int Size, int Name, int NameLength, int TextBase, int SectionAttributes, int? BuildId, SectionAttributeLayout Attributes)
{
    /// <summary>The list_head by which it hangs in <c>modules</c>; null where the types do not tell.</summary>
    public int? List { get; private init; }

    /// <summary>enum module_state, 4 bytes; null where the types do not tell.</summary>
    public int? State { get; private init; }

    /// <summary>Null when the kernel has no modules or its type information does not tell.</summary>
    public static ModuleLayout? Find(IStructLayouts layouts)
    {
        if (!layouts.TryGetSize("module", out var size)
            || !layouts.TryFindMember("module", "name", out var name)
            || !layouts.TryFindMember("module", "sect_attrs", out var attributes)
            || SectionAttributeLayout.Find(layouts) is not { } attributeLayout)
        {
            return null;
        }

        int? textBase = null;
        foreach (var path in (string[])["mem[0].base", "core_layout.base", "module_core"])
        {
            if (layouts.TryFindMember("module", path, out var member))
            {
                textBase = member.ByteOffset;
                break;
            }
        }

        return textBase is null ? null : new ModuleLayout(
            size,
            name.ByteOffset,
            name.Size,
            textBase.Value,
            attributes.ByteOffset,
            layouts.TryFindMember("module", "build_id", out var buildId) && buildId.Size == 20 ? buildId.ByteOffset : null,
            attributeLayout)
        {
            List = layouts.TryFindMember("module", "list", out var list) ? list.ByteOffset : null,
            State = layouts.TryFindMember("module", "state", out var state) ? state.ByteOffset : null,
        };
    }
}

/// <param name="First">Offset of the first entry in struct module_sect_attrs.</param>
/// <param name="Count">Offset of nsections, or null where the list ends with a zero entry.</param>
/// <param name="Stride">Bytes from one entry to the next.</param>
/// <param name="NamePointer">Offset of the pointer to the section's name in an entry.</param>
/// <param name="Address">Offset of the section's address in an entry.</param>
internal sealed record SectionAttributeLayout(int First, int? Count, int Stride, int NamePointer, int Address)
{
    public static SectionAttributeLayout? Find(IStructLayouts layouts)
    {
        if (!layouts.TryFindMember("module_sect_attrs", "attrs", out var attrs))
        {
            return null;
        }

        int? count = layouts.TryFindMember("module_sect_attrs", "nsections", out var sections) ? sections.ByteOffset : null;
        foreach (var (entry, name, address) in ((string, string, string)[])
            [("module_sect_attr", "battr.attr.name", "address"), ("module_sect_attr", "name", "address"), ("bin_attribute", "attr.name", "private")])
        {
            if (layouts.TryGetSize(entry, out var stride)
                && layouts.TryFindMember(entry, name, out var nameMember)
                && layouts.TryFindMember(entry, address, out var addressMember))
            {
                return new SectionAttributeLayout(attrs.ByteOffset, count, stride, nameMember.ByteOffset, addressMember.ByteOffset);
            }
        }

        return null;
    }
}
