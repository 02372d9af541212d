// What identifies a kernel object to people: its name, its number. Everything is looked up in the types; what a kernel does not have is not shown.
using System.Collections.Frozen;
using System.Globalization;
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Printers;

/// <summary>Finds the name of the object that a pointer points to.</summary>
internal sealed class ObjectNames(ValueReader reader)
{
    private const int MaximumName = 64;

    /// <summary>Members that hold or point to the name, in the order in which they are tried.</summary>
    private static readonly FrozenDictionary<string, string[]> NamePaths = new Dictionary<string, string[]>
    {
        ["device"] = ["init_name", "kobj.name"],
        ["dentry"] = ["d_name.name"],
        ["file"] = ["f_path.dentry"],
        ["path"] = ["dentry"],
        ["super_block"] = ["s_id"],
        ["gendisk"] = ["disk_name"],
        ["irq_data"] = ["chip"],
    }.ToFrozenDictionary();

    /// <summary>Members by which an object without a name of its own is known, whatever structure it is.</summary>
    private static readonly string[] CommonPaths = ["name", "dev", "kobj", "func", "function"];

    /// <summary>A suffix such as <c>"eth0"</c> or <c>irq 24 "PCI-MSI"</c>; null when there is nothing to say, or its memory is missing (then noted).</summary>
    public string? Of(TypedValue target) => Of(target, 0);

    private string? Of(TypedValue target, int depth)
    {
        const int MaximumDepth = 4;
        if (depth > MaximumDepth || reader.StructureOf(target.Type) is not { IsIncomplete: false } structure)
        {
            return null;
        }

        switch (structure.Name)
        {
            case "task_struct":
                return Text(target, "comm") is { } comm ? comm + (Number(target, "pid") is { } pid ? " pid " + pid : "") : null;
            case "irq_desc":
                return reader.MemberAt(target, "irq_data") is { } inner ? Of(inner, depth + 1) : null;
            case "irq_data":
                var irq = Number(target, "irq") is { } number ? "irq " + number : null;
                return (irq + " " + Behind(target, "chip", depth)).Trim() is { Length: > 0 } text ? text : null;
            case "inode":
                return Number(target, "i_ino") is { } inode ? "inode " + inode : null;
            case "resource":
                return Resource(target);
            case "cpumask":
                return new CpuLists(reader).Of(target);
            case "qstr":
                return Text(target, "name");
            case "list_head" or "hlist_node" or "hlist_head" or "rb_node" or "page" or "folio":
                return null;
        }

        var missing = reader.MissingCount;
        foreach (var path in NamePaths.GetValueOrDefault(structure.Name, CommonPaths))
        {
            if (Behind(target, path, depth) is { } name)
            {
                return name;
            }

            if (reader.MissingCount > missing)
            {
                // Perhaps this is the one, once it was fetched.
                return null;
            }
        }

        return null;
    }

    /// <summary>The name that a member is, points to, or belongs to.</summary>
    private string? Behind(TypedValue owner, string path, int depth)
    {
        if (reader.MemberAt(owner, path) is not { } member)
        {
            return null;
        }

        switch (member.Type.Resolved)
        {
            case ArrayType:
                return Text(member);
            case PointerType { Target.Resolved: IntegerType { Size: 1 } }:
                return Text(member);
            case PointerType { Target.Resolved: FunctionType } when path is "func" or "function":
                return reader.Number(member) is { } function and not 0 && reader.Scope.NameOf((ulong)function) is { } name ? $"<{name}>" : null;
            case PointerType { Target.Resolved: StructType } when path is "chip" or "dentry" or "f_path.dentry":
                return reader.Dereference(member) is { } target ? Of(target, depth + 1) : null;
            case StructType structure when (path, structure.Name) is ("dev", "device") or ("kobj", "kobject"):
                return Of(member, depth + 1);
            default:
                return null;
        }
    }

    private string? Resource(TypedValue target)
    {
        // Both ends at once, so that a miss of one brings the other along.
        var (start, end) = (Unsigned(target, "start"), Unsigned(target, "end"));
        var name = Text(target, "name");
        return start is null || end is null ? name : FormattableString.Invariant($"{name ?? ""} [0x{start:x}-0x{end:x}]").TrimStart();
    }

    private string? Number(TypedValue owner, string path) =>
        reader.MemberAt(owner, path) is { } member && reader.Number(member) is { } number ? number.ToString(CultureInfo.InvariantCulture) : null;

    private ulong? Unsigned(TypedValue owner, string path) => reader.MemberAt(owner, path) is { } member ? (ulong?)reader.Number(member) : null;

    private string? Text(TypedValue owner, string path) => reader.MemberAt(owner, path) is { } member ? Text(member) : null;

    /// <summary>Text in an array or behind a pointer, quoted. What does not look like a name is none: the pointer may be stale.</summary>
    private string? Text(TypedValue member)
    {
        ulong address;
        var limit = MaximumName;
        switch (member.Type.Resolved)
        {
            case ArrayType { Element.Resolved: IntegerType { Size: 1 }, Count: var count }:
                if (!member.Bytes.IsEmpty)
                {
                    var end = member.Bytes.Span.IndexOf((byte)0);
                    return Plausible(end < 0 ? member.Bytes.Span : member.Bytes.Span[..end], isCut: false);
                }

                limit = (int)Math.Min(count ?? limit, limit);
                address = member.Address ?? 0;
                break;
            case PointerType { Target.Resolved: IntegerType { Size: 1 } }:
                address = reader.Dereference(member)?.Address ?? 0;
                break;
            default:
                return null;
        }

        if (address == 0)
        {
            return null;
        }

        var (state, bytes, isCut) = reader.ReadText(address, limit);
        return state == ReadState.Ok ? Plausible(bytes, isCut && member.Type.Resolved is PointerType) : null;
    }

    private static string? Plausible(ReadOnlySpan<byte> bytes, bool isCut) => QuotedText.IsPlausibleName(bytes) ? QuotedText.Quote(bytes, isCut) : null;
}
