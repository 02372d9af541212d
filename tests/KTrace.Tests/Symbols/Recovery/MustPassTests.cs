namespace KTrace.Tests.Symbols.Recovery;

/// <summary>What every way to a place leads through: the begin of an inlined call says nothing about an activation that may have come by another way.</summary>
public sealed class MustPassTests
{
    [Fact]
    public void Equal_ends_of_two_ways_belong_to_neither()
    {
        // As on i386, where vfs_ioctl's call for FIONREAD and the one for everything else were merged.
        using var code = Code("""
            func f
             cmp $5, %esi
             je second
            first:
             mov %esi, %edi
             jmp both
            second:
             mov $7, %edi
            both:
             call callee
            back:
             ret
            endf f
            """);
        Assert.True(code.MustPass("back", "f"));
        Assert.True(code.MustPass("back", "both"));
        Assert.False(code.MustPass("back", "first"));
        Assert.False(code.MustPass("back", "second"));
        Assert.False(code.MustPass("back", "back"));
    }

    [Fact]
    public void A_loop_is_passed_where_its_begin_is_and_not_where_its_end_is()
    {
        using var code = Code("""
            func f
             push %rbx
            head:
             inc %ebx
             call callee
            inside:
             cmp $9, %ebx
             je out
            tail:
             dec %edx
             jmp head
            out:
             call callee
            behind:
             pop %rbx
             ret
            endf f
            """);
        Assert.True(code.MustPass("inside", "head"));
        Assert.False(code.MustPass("inside", "tail"));
        Assert.True(code.MustPass("behind", "head"));
        Assert.True(code.MustPass("behind", "inside"));
        Assert.False(code.MustPass("behind", "tail"));
    }

    [Fact]
    public void What_is_not_understood_was_passed_by_nobody()
    {
        using var code = Code("func f\n call callee\nback:\n ret\nendf f");
        Assert.False(code.MustPass("back", "callee"));
    }

    private static AssembledCode Code(string body) => new(body + "\nfunc callee\n ret\nendf callee\n");
}
