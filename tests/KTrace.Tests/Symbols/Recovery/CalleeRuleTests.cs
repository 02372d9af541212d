using System.Collections.Immutable;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Dwarf.Locations;
using KTrace.Symbols.Recovery;

namespace KTrace.Tests.Symbols.Recovery;

/// <summary>Values that a function has lost and its callee has not, values that it loaded, and what others may write to; each with its trap.</summary>
public sealed class CalleeRuleTests
{
    private const string Callee = "\nfunc callee\n ret\nendf callee\n";

    [Fact]
    public void What_a_call_passes_its_callee_can_tell()
    {
        using var code = Code("func f\n sub $8, %rsp\n mov %rsi, %rdx\n mov (%rdi), %rsi\n call callee\nback:\n add $8, %rsp\n ret\nendf f");
        Assert.Contains(new ValueRecipe.Passed(X86_64.Rdx, 0), code.AtEntry("back", X86_64.Rsi));
        Assert.DoesNotContain(new ValueRecipe.Passed(X86_64.Rsi, 0), code.AtEntry("back", X86_64.Rsi));
    }

    [Fact]
    public void One_argument_that_is_passed_twice_is_told_by_either()
    {
        using var code = Code("func f\n sub $8, %rsp\n mov (%rdi), %edx\n mov %edx, %ecx\n call callee\nback:\n add $8, %rsp\n ret\nendf f");
        Assert.Contains(new ValueRecipe.Passed(X86_64.Rdx, 0) { Bits = 32 }, code.Passed("back", X86_64.Rcx));
    }

    [Fact]
    public void I386_passes_on_the_stack_what_its_callee_can_tell()
    {
        using var code = new AssembledCode("func f\n sub $12, %esp\n mov %eax, 4(%esp)\n xor %eax, %eax\n call callee\nback:\n add $12, %esp\n ret\nendf f" + Callee, is64: false);
        var recipes = code.AtEntry("back", I386.Eax);
        Assert.Contains(new ValueRecipe.PassedSlot(4, 4, 0) { Bits = 32 }, recipes);
        Assert.DoesNotContain(recipes, r => r is ValueRecipe.StackSlot);
    }

    [Fact]
    public void A_byte_in_a_slot_is_followed_until_a_wider_store_covers_it()
    {
        const string Frame = "func f\n sub $16, %esp\n mov %dl, 3(%esp)\n {0}\n call callee\n movzbl 3(%esp), %ecx\n call callee\nback:\n add $16, %esp\n ret\nendf f";
        using var kept = new AssembledCode(Frame.Replace("{0}", "movl $0, 4(%esp)") + Callee, is64: false);
        using var covered = new AssembledCode(Frame.Replace("{0}", "movl $0, (%esp)") + Callee, is64: false);
        Assert.Contains(new ValueRecipe.EntryRegister(I386.Edx, 0) { Bits = 8 }, kept.Passed("back", I386.Ecx));
        Assert.DoesNotContain(covered.Passed("back", I386.Ecx), r => r is ValueRecipe.EntryRegister);
    }

    [Fact]
    public void A_tail_call_tells_in_what_it_passes_an_argument_on()
    {
        using var code = Code("func f\n xor %r8d, %r8d\n mov %rsi, %rdx\n mov %rdi, %rsi\n xor %edi, %edi\njump:\n jmp callee\nendf f");
        Assert.Equal(X86_64.Rsi, code.PassedOn("jump", X86_64.Rdi));
        Assert.Equal(X86_64.Rdx, code.PassedOn("jump", X86_64.Rsi));
        Assert.Equal(-1, code.PassedOn("jump", X86_64.R8));
    }

    [Theory]
    [InlineData("nop", true)]
    [InlineData("mov %rax, 8(%rsp)", true)]
    [InlineData("mov %rax, (%rsi)", false)]
    [InlineData("call callee", false)]
    [InlineData("lock incl (%rsi)", false)]
    public void What_memory_held_is_what_was_loaded_as_long_as_nothing_stores(string between, bool isSame)
    {
        using var code = Code("func f\n push %rbx\n push %rbp\n sub $24, %rsp\n mov %rdi, %rbx\n mov 16(%rbx), %rax\n mov 4(%rax), %ebp\n " + between
            + "\npoint:\n call callee\nback:\n add $24, %rsp\n pop %rbp\n pop %rbx\n ret\nendf f");
        var recipes = code.Loaded("back", "point", new LoadedTerm(X86_64.Rbx, [16, 4], 4, 0));
        Assert.Equal(isSame, recipes.Contains(new ValueRecipe.Register(X86_64.Rbp, 0)));
        Assert.Empty(code.Loaded("back", "point", new LoadedTerm(X86_64.Rbx, [16, 8], 4, 0)));
        Assert.Empty(code.Loaded("back", "point", new LoadedTerm(X86_64.Rbx, [16, 4], 8, 0)));
    }

    [Fact]
    public void A_load_behind_the_point_counts_only_when_it_has_run()
    {
        // In the second turn of the loop ebp has what the first one loaded.
        const string Loop = "func f\n push %rbx\n push %rbp\n mov %rdi, %rbx\npoint:\n nop\n {0}\nback:\n {1}\n jmp point\nendf f";
        using var ran = Code(Loop.Replace("{0}", "mov 4(%rbx), %ebp\n call callee").Replace("{1}", "nop"));
        using var not = Code(Loop.Replace("{0}", "call callee").Replace("{1}", "mov 4(%rbx), %ebp"));
        var term = new LoadedTerm(X86_64.Rbx, [4], 4, 0);
        Assert.Contains(new ValueRecipe.Register(X86_64.Rbp, 0), ran.Loaded("back", "point", term));
        Assert.Empty(not.Loaded("back", "point", term));
    }

    [Fact]
    public void A_base_that_was_changed_since_the_load_is_another_one()
    {
        using var code = Code("func f\n push %rbx\n push %rbp\n mov %rdi, %rbx\n mov 4(%rbx), %ebp\n add $8, %rbx\npoint:\n call callee\nback:\n pop %rbp\n pop %rbx\n ret\nendf f");
        Assert.Empty(code.Loaded("back", "point", new LoadedTerm(X86_64.Rbx, [4], 4, 0)));
        Assert.Contains(new ValueRecipe.Register(X86_64.Rbp, 0), code.Loaded("back", "point", new LoadedTerm(X86_64.Rbx, [-4], 4, 0)));
    }

    [Theory]
    [InlineData("lea 24(%rsp), %rsi", true)]
    [InlineData("lea 24(%rsp), %rax\n mov %rax, (%rdx)", true)]
    [InlineData("lea 16(%rsp), %rsi", false)]
    [InlineData("lea 8(%rsp), %rsi", false)]
    [InlineData("movq $1, 24(%rsp,%rdx,8)", true)]
    [InlineData("movq $1, 16(%rsp,%rdx,8)", false)]
    public void An_address_gives_away_the_variable_that_it_lies_in(string escape, bool isBelieved)
    {
        // The word at 8(%rsp) is no variable; 24(%rsp) is one of 16 bytes; at 16(%rsp) there is none that is known.
        var body = "func f\n sub $40, %rsp\n mov %rdi, 8(%rsp)\n " + escape + "\n call callee\n call callee\nback:\n mov 8(%rsp), %rax\n add $40, %rsp\n ret\nendf f";
        using var known = new AssembledCode(body + Callee, true, new FrameObject(-24, 16));
        using var unknown = new AssembledCode(body + Callee);
        Assert.Equal(isBelieved, known.AtEntry("back", X86_64.Rdi).Any(r => r is ValueRecipe.StackSlot));
        Assert.DoesNotContain(unknown.AtEntry("back", X86_64.Rdi), r => r is ValueRecipe.StackSlot);
    }

    [Fact]
    public void An_index_may_count_from_before_its_array()
    {
        // a[i - 1]: the address with the index left out lies in the variable below.
        const string Body = "func f\n sub $40, %rsp\n mov %rdi, {0}(%rsp)\n movq $1, 8(%rsp,%rdx,8)\n call callee\n call callee\nback:\n mov {0}(%rsp), %rax\n add $40, %rsp\n ret\nendf f";
        FrameObject[] objects = [new(-40, 8), new(-32, 16)];
        using var inArray = new AssembledCode(Body.Replace("{0}", "16") + Callee, true, objects);
        using var beside = new AssembledCode(Body.Replace("{0}", "32") + Callee, true, objects);
        Assert.DoesNotContain(inArray.AtEntry("back", X86_64.Rdi), r => r is ValueRecipe.StackSlot);
        Assert.Contains(beside.AtEntry("back", X86_64.Rdi), r => r is ValueRecipe.StackSlot);
    }

    [Theory]
    [InlineData("ret", true)]
    [InlineData("jmp .Lmiddle", false)]
    [InlineData(".skip 300, 0x90\n jmp .Lmiddle", false)]
    [InlineData("jmp piece", true)]
    public void Assembly_is_understood_where_nothing_jumps_into_its_middle(string other, bool isUnderstood)
    {
        using var code = Code("piece:\n mov %r12, %rdi\n.Lmiddle:\n call *%rbx\n jmp callee\n.size piece, . - piece\nfunc other\n nop\n " + other + "\nendf other");
        Assert.Equal(isUnderstood, code.IsUnderstood("piece"));
    }

    [Fact]
    public void A_part_that_was_put_back_is_called_where_the_function_is_declared()
    {
        var whole = new ScopeDie { Origin = 100, Declared = (1, 947, 12) };
        Assert.True(new ScopeDie { Origin = 100, Declared = (1, 947, 12), Called = (1, 947, 12) }.IsPartOf(whole));
        Assert.False(new ScopeDie { Origin = 100, Declared = (1, 947, 12), Called = (1, 960, 9) }.IsPartOf(whole));
        Assert.False(new ScopeDie { Origin = 101, Declared = (1, 947, 12), Called = (1, 947, 12) }.IsPartOf(whole));
        Assert.False(new ScopeDie { Origin = 100 }.IsPartOf(whole));
    }

    private static AssembledCode Code(string body) => new(body + Callee);
}
