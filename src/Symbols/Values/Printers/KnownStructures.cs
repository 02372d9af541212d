// Structures of the kernel that mean one thing: a counter, a list, a set, an address. Recognised by their names and by the members that they must have.
using System.Globalization;
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Printers;

/// <summary>Prints such structures as that one thing.</summary>
internal sealed class KnownStructures(ValueReader reader, PrintOptions options)
{
    /// <summary>Null for an ordinary structure, and for what could not be read.</summary>
    public string? Print(TypedValue value, StructType structure, int depth)
    {
        var names = new TypeNameChain(value.Type);
        switch (structure.Name)
        {
            case "list_head":
                return List(value, depth);
            case "hlist_head":
                return Member(value, "first") is not { } first ? null : first == 0 ? "empty" : FormattableString.Invariant($"list, first 0x{first:x}");
            case "cpumask":
                return new CpuLists(reader).Of(value);
            case "refcount_struct" or "kref":
                return Counter(value);
            case "raw_spinlock":
                return Lock(value, "raw_lock.val.counter");
            case "spinlock":
                return Lock(value, "rlock.raw_lock.val.counter");
            case "mutex":
                return Lock(value, "owner.counter");
            case "qstr":
                return Name(value);
            case "in_addr":
                return Member(value, "s_addr") is { } address ? NetworkAddresses.Internet4((uint)address) : null;
            case "in6_addr":
                return reader.Load(value, out var bytes) == ReadState.Ok && bytes.Bytes.Length == 16 ? NetworkAddresses.Internet6(bytes.Bytes.Span) : null;
            case "sockaddr_in":
                return Member(value, "sin_addr.s_addr") is { } host && Member(value, "sin_port") is { } port
                    ? FormattableString.Invariant($"{NetworkAddresses.Internet4((uint)host)}:{(ushort)System.Net.IPAddress.NetworkToHostOrder((short)port)}")
                    : null;
        }

        return names.Has("nodemask_t") ? new CpuLists(reader).Of(value)
            : names.Has("atomic_t") || names.Has("atomic64_t") || names.Has("atomic_long_t") || names.Has("local_t") || names.Has("local64_t") || names.Has("refcount_t") ? Counter(value)
            : null;
    }

    /// <summary>The number inside, however many structures it is wrapped in (kref → refcount_t → atomic_t → int).</summary>
    private string? Counter(TypedValue value)
    {
        const int MaximumDepth = 6;
        for (var depth = 0; depth < MaximumDepth; depth++)
        {
            if (reader.StructureOf(value.Type) is not { Members: [var only] })
            {
                return reader.Number(value) is { } number ? number.ToString(CultureInfo.InvariantCulture) : null;
            }

            value = reader.MemberOf(value, only);
        }

        return null;
    }

    private string? Lock(TypedValue value, string path) => Member(value, path) is { } word ? word == 0 ? "unlocked" : "locked" : null;

    private string? Name(TypedValue value)
    {
        if (reader.MemberAt(value, "name") is not { } member || reader.Dereference(member) is not { Address: { } address })
        {
            return null;
        }

        var (state, bytes, isCut) = reader.ReadText(address, options.MaximumText);
        return state == ReadState.Ok ? QuotedText.Quote(bytes, isCut) : null;
    }

    /// <summary>
    /// Entries are counted only where the list is what was asked for: each one is a read that depends on the one before. A list that does not come back to its head
    /// (cut off, or not a list) is followed as far as the bound.
    /// </summary>
    private string? List(TypedValue value, int depth)
    {
        if (value.Address is not { } head || Member(value, "next") is not { } first)
        {
            return null;
        }

        if ((ulong)first == head)
        {
            return "empty";
        }

        if (first == 0)
        {
            return "not initialised";
        }

        var text = FormattableString.Invariant($"first 0x{(ulong)first:x}");
        if (depth > 0 || !options.FollowPointers)
        {
            return "list, " + text;
        }

        var (count, missing) = (1, reader.MissingCount);
        for (var at = (ulong)first; count <= options.MaximumElements; count++)
        {
            if (Member(new TypedValue { Type = value.Type, Address = at }, "next") is not { } next)
            {
                return reader.MissingCount > missing ? "list, " + text : FormattableString.Invariant($"list that breaks off behind {count} at 0x{at:x}, {text}");
            }

            if ((ulong)next == head)
            {
                return FormattableString.Invariant($"list of {count}, {text}");
            }

            at = (ulong)next;
        }

        return FormattableString.Invariant($"list of more than {options.MaximumElements}, {text}");
    }

    private long? Member(TypedValue value, string path) => reader.MemberAt(value, path) is { } member ? reader.Number(member) : null;
}
